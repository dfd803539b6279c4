"""FlexAttention (2412.05496): one kernel that torch's compiler writes, which skips tiles of pairs nobody asks for.

It takes the place of one call for each bias and their merging by a mask over ranges. It must be compiled for a shape
first, so only the benchmark measures it, beside what runs; whether it ever wins is not known yet.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from engine.attention.bias import Biases, seen_rows
from engine.attention.torch_backends import heads_first

TILE = 128

Seen = tuple[tuple[range, tuple[range, ...]], ...]


@dataclass(frozen=True, slots=True)
class FlexKernel:
    """All blocks of queries in one kernel; not `compiled` it is arithmetic on the whole matrix of scores, for tests."""

    compiled: bool = True
    name: str = "torch flex"

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, biases: Biases) -> Tensor:
        """See attend_blocks."""
        kernel = compiled_flex() if self.compiled else cast(Callable[..., Tensor], flex_attention)
        mask = tile_mask(tuple(seen_rows(biases, len(q), len(k))), len(q), len(k), q.device) if biases else None
        query, key, value = (heads_first(x) for x in (q, k, v))
        mixed: Tensor = kernel(query, key, value, block_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
        return mixed[0].transpose(0, 1)


@functools.cache
def compiled_flex() -> Callable[..., Tensor]:
    """flex_attention through torch's compiler, made when it is first asked for."""
    compiled: Callable[..., Tensor] = torch.compile(flex_attention)
    return compiled


@functools.lru_cache(maxsize=32)
def tile_mask(seen: Seen, num_queries: int, num_keys: int, device: torch.device) -> BlockMask:
    """The tiles of the matrix of pairs that are seen wholly or in part, and the rule inside the latter.

    Args:
        seen: rows of consecutive queries, and as many ranges of keys for each.
    """
    with torch.inference_mode(False):
        pairs = _overlaps([queries for queries, _ in seen], num_queries).T @ sum(
            _overlaps(list(keys), num_keys) for keys in zip(*(parts for _, parts in seen), strict=True)
        )
        full = pairs == TILE * TILE
        num_partial, partial = _tile_list((pairs > 0) & ~full)
        num_full, whole = _tile_list(full)
        return BlockMask.from_kv_blocks(
            num_partial.to(device),
            partial.to(device),
            num_full.to(device),
            whole.to(device),
            BLOCK_SIZE=TILE,
            mask_mod=_rule(seen, device),
            seq_lengths=(num_queries, num_keys),
        )


def _overlaps(ranges: Sequence[range], length: int) -> Tensor:
    """float64 [ranges, tiles]: how many rows of each tile of `length` rows are in each range."""
    first = torch.arange(0, length, TILE)
    start, stop = (torch.tensor([[getattr(one, end)] for one in ranges]) for end in ("start", "stop"))
    return (torch.minimum(stop, first + TILE) - torch.maximum(start, first)).clamp(min=0).double()


def _tile_list(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """bool [rows, columns] -> int32 [1, 1, rows] of how many, and [1, 1, rows, columns]: which, those first."""
    order = torch.argsort(tiles.int(), dim=1, descending=True, stable=True)
    return tiles.sum(1).int()[None, None], order.int()[None, None]


def _rule(seen: Seen, device: torch.device) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    lengths = torch.tensor([len(queries) for queries, _ in seen])
    block_of = torch.arange(len(seen)).repeat_interleave(lengths).to(device)
    starts, stops = (
        torch.tensor([[getattr(part, end) for part in parts] for _, parts in seen], device=device).T.contiguous()
        for end in ("start", "stop")
    )

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        own = block_of[query]
        hit = (key >= starts[0][own]) & (key < stops[0][own])
        for start, stop in zip(starts[1:], stops[1:], strict=True):
            hit = hit | ((key >= start[own]) & (key < stop[own]))
        return hit

    return sees
