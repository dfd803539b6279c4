"""The communication of one batch on one rank: attention in every layer, and the gathering of the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from engine.attention import Kernel, attend_blocks
from engine.exchange.cost import layer_plans, output_values
from engine.exchange.layer import LayerExchange
from engine.exchange.link import Link
from engine.local_attention import LocalRule
from engine.model.dit import Attention
from engine.model.stream import TokenStream
from hhray.model_size import ModelSize
from hhray.parallel_layout import ParallelLayout


class Exchange:
    """A batch shared by the ranks of `link`'s block, in `layout`, or for each kind of layer in the cheapest.

    `layouts` are those of the layers; `layer_bytes` counts what went to other ranks in each layer, `output_bytes` what
    the gathering of outputs sent.

    Raises:
        ConfigError: the layout does not fit the ranks or the heads.
    """

    def __init__(
        self,
        stream: TokenStream,
        size: ModelSize,
        link: Link,
        rule: LocalRule | None = None,
        layout: ParallelLayout | None = None,
        kernel: Kernel = attend_blocks,
    ) -> None:
        self.link = link
        plans = layer_plans(stream, size, link.world_size, rule, layout)
        self.layouts = tuple(plan.layout for plan in plans)
        self.layer_bytes, self.output_bytes = [0] * size.num_layers, 0
        kinds = {id(plan): LayerExchange(plan, link, kernel) for plan in plans}
        self.attentions: tuple[Attention, ...] = tuple(
            partial(self._counted, layer, kinds[id(plan)]) for layer, plan in enumerate(plans)
        )
        self._outputs = [output_values(stream, rank, link.world_size) for rank in range(link.world_size)]

    @property
    def bytes_sent(self) -> int:
        """Bytes this rank has sent to others for the batch."""
        return sum(self.layer_bytes) + self.output_bytes

    def gather(self, outputs: Sequence[Tensor], device: torch.device) -> Tensor:
        """Every rank's outputs, flattened, in stream order: one vector, the same on all ranks."""
        none = torch.empty(0, device=device)  # a slice may be all text
        mine = torch.cat([none, *(output.flatten() for output in outputs)])
        if self.link.world_size == 1:
            return mine
        received, before = mine.new_empty(sum(self._outputs)), self.link.bytes_sent
        ranks = self.link.world_size
        self.link.all_to_all(received, mine.repeat(ranks), self._outputs, [mine.numel()] * ranks)
        self.output_bytes += self.link.bytes_sent - before
        return received

    def _counted(self, layer: int, attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        before = self.link.bytes_sent
        mixed = attention(q, k, v)
        self.layer_bytes[layer] += self.link.bytes_sent - before
        return mixed
