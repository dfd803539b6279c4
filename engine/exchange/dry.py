"""Bytes by doing: every exchange of a forward pass on meta tensors, for any shape and size, without weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.exchange.batch import Exchange
from engine.exchange.link import DryLink
from engine.local_attention import LocalRule, QueryBlock
from engine.model.stream import TokenStream
from hhray.model_size import ModelSize
from hhray.parallel_layout import ParallelLayout


def counted_layer_bytes(
    stream: TokenStream,
    size: ModelSize,
    num_ranks: int,
    rule: LocalRule | None = None,
    layout: ParallelLayout | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> list[list[int]]:
    """Bytes that each rank's own counter shows for each layer: [rank][layer].

    Raises:
        ConfigError: the layout does not fit the ranks or the heads.
    """
    counted = []
    for rank, tokens in enumerate(stream.slice_sizes(num_ranks)):
        exchange = Exchange(stream, size, DryLink(rank, num_ranks), rule, layout, _only_shapes)
        q, k, v = (
            torch.empty(tokens, heads, size.head_dim, dtype=dtype, device="meta")
            for heads in (size.num_heads, size.num_kv_heads, size.num_kv_heads)
        )
        for attention in exchange.attentions:
            attention(q, k, v)
        counted.append(exchange.layer_bytes)
    return counted


def _only_shapes(q: Tensor, k: Tensor, v: Tensor, blocks: Sequence[QueryBlock]) -> Tensor:  # noqa: ARG001 - a kernel
    return torch.empty_like(q)
