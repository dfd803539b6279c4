"""Ulysses sequence parallelism: ranks hold slices of the token stream, attention is split by heads.

Before attention one all-to-all turns "my tokens, all heads" into "all tokens, my heads" for q, k and v together; one
more brings the output back. Slices may be uneven. With one rank nothing moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor

from engine.attention import attend
from engine.local_attention import LocalRule, attend_local
from engine.model.dit import Attention
from engine.model.stream import Modality, TokenStream
from hhray.errors import ConfigError
from hhray.model_size import AUDIO_CHANNELS, PATCH_CHANNELS, ModelSize

OUTPUT_CHANNELS = {Modality.VIDEO: PATCH_CHANNELS, Modality.AUDIO: AUDIO_CHANNELS}


class Exchange:
    """The communication of one batch on one rank; `bytes_sent` counts what went to other ranks.

    Raises:
        ConfigError: the heads cannot be split over the ranks.
    """

    def __init__(self, stream: TokenStream, size: ModelSize, rank: int, world_size: int, device: torch.device) -> None:
        if size.num_kv_heads % world_size:
            raise ConfigError(
                f"{size.num_kv_heads} key heads cannot be split over {world_size} ranks; use a divisor of them"
            )
        self.rank, self.world_size = rank, world_size
        self.bytes_sent = 0
        self._device = device
        self._stream, self._num_layers = stream, size.num_layers
        self._tokens = stream.slice_sizes(world_size)
        self._outputs = tuple(output_values(stream, r, world_size) for r in range(world_size))

    def attentions(self, rule: LocalRule | None) -> tuple[Attention, ...]:
        """Attention of this slice's queries, q [s, H, D], k and v [s, K, D] -> [s, H, D], in every layer.

        Layers named in `rule` see near frames only, all others everything.
        """
        full: Attention = partial(self._over_all_tokens, partial(attend, lengths=self._stream.lengths))
        if rule is None:
            return (full,) * self._num_layers
        local: Attention = partial(
            self._over_all_tokens, partial(attend_local, items=self._stream.items, window=rule.window)
        )
        return tuple(local if layer in rule.layers else full for layer in range(self._num_layers))

    def _over_all_tokens(self, kernel: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Run `kernel` on all tokens and this rank's heads."""
        if self.world_size == 1:
            return kernel(q, k, v)
        heads, kv_heads = q.shape[1] // self.world_size, k.shape[1] // self.world_size
        q, k, v = torch.split(self._tokens_to_heads(q, k, v), [heads, kv_heads, kv_heads], dim=1)
        return self._heads_to_tokens(kernel(q, k, v))

    def gather(self, outputs: Sequence[Tensor]) -> Tensor:
        """Every rank's outputs, flattened, in stream order: one vector, the same on all ranks."""
        none = torch.empty(0, device=self._device)  # a slice may be all text
        mine = torch.cat([none, *(output.flatten() for output in outputs)])
        if self.world_size == 1:
            return mine
        received = mine.new_empty(sum(self._outputs))
        own = [mine.numel()] * self.world_size
        self._all_to_all(received, mine.repeat(self.world_size), list(self._outputs), own)
        return received

    def _tokens_to_heads(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[s, heads, D] of q, k, v -> [S, heads of q, k, v / W, D] of this rank's heads."""
        by_rank = [torch.unflatten(x, 1, (self.world_size, -1)).transpose(0, 1) for x in (q, k, v)]
        packed = torch.cat(by_rank, dim=2).flatten(0, 1)
        received = packed.new_empty(sum(self._tokens), *packed.shape[1:])
        self._all_to_all(received, packed, list(self._tokens), [q.shape[0]] * self.world_size)
        return received

    def _heads_to_tokens(self, mixed: Tensor) -> Tensor:
        """[S, H / W, D] -> [s, H, D]."""
        own = self._tokens[self.rank]
        received = mixed.new_empty(self.world_size * own, *mixed.shape[1:])
        self._all_to_all(received, mixed.contiguous(), [own] * self.world_size, list(self._tokens))
        return torch.unflatten(received, 0, (self.world_size, own)).transpose(0, 1).flatten(1, 2)

    def _all_to_all(self, received: Tensor, sent: Tensor, receive_rows: list[int], send_rows: list[int]) -> None:
        dist.all_to_all_single(received, sent, receive_rows, send_rows)
        elsewhere = sum(send_rows) - send_rows[self.rank]
        self.bytes_sent += elsewhere * (sent.numel() // max(len(sent), 1)) * sent.element_size()


def output_values(stream: TokenStream, rank: int, world_size: int) -> int:
    """Output numbers a rank computes: 192 a video token, 64 an audio token, none for text and conditions."""
    runs = stream.slice_for(rank, world_size)
    return sum(run.length * OUTPUT_CHANNELS[run.modality] for run in runs if run.output)


def step_bytes(stream: TokenStream, size: ModelSize, rank: int, world_size: int, element_bytes: int) -> int:
    """Bytes a rank sends to the others in one forward pass.

    With S tokens in all, s of them here, W ranks, H query and K key heads of D channels, L layers, e bytes an element:
        L (s (W - 1) / W (H + 2 K) D + (S - s) H / W D) e        attention, out and back, per layer
        + (W - 1) 4 o                                            this rank's o float32 outputs to every other rank
    """
    total, own = stream.num_tokens, stream.slice_sizes(world_size)[rank]
    heads, kv_heads = size.num_heads // world_size, size.num_kv_heads // world_size
    outward = own * (world_size - 1) * (heads + 2 * kv_heads) * size.head_dim
    homeward = (total - own) * heads * size.head_dim
    gathered = (world_size - 1) * output_values(stream, rank, world_size) * 4
    return size.num_layers * (outward + homeward) * element_bytes + gathered
