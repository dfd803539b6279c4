"""What queries see as biases of xformers: the one form in which every backend is told.

No bias: all queries see all keys. One: block i of the queries sees block i of the keys. Several, where a block sees
several ranges of keys (near video frames, and audio and text): block i sees the union of its ranges in all of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Protocol, cast

import torch

from engine.attention.blocks import QueryBlock, key_parts
from engine.attention.xformers_library import xformers_module


class Rows(Protocol):
    """Rows by block: xformers' own account of them, on the host and on the device."""

    def intervals(self) -> Iterable[tuple[int, int]]:
        """First row, and the one after the last, of each block."""


class Bias(Protocol):
    """What is read here of a BlockDiagonalMask (keys without gaps) or a BlockDiagonalGappyKeysMask (with)."""

    @property
    def q_seqinfo(self) -> Rows: ...

    @property
    def k_seqinfo(self) -> Rows: ...


Biases = tuple[Bias, ...]


@functools.lru_cache(maxsize=128)
def biases_of(blocks: tuple[QueryBlock, ...], num_keys: int, device: torch.device) -> Biases:
    """The biases of queries that see `blocks`, for `num_keys` keys; their row numbers lie on `device`.

    Made once for each shape, before any kernel needs them: later calls find them.

    Raises:
        ValueError: see key_parts.
    """
    if all(block.keys == (range(num_keys),) for block in blocks):
        return ()
    queries = [len(block.queries) for block in blocks]
    with torch.inference_mode(False):  # they outlive the step that asks first
        return tuple(_bias(queries, keys, num_keys, device) for keys in key_parts(blocks))


def _bias(queries: Sequence[int], keys: Sequence[range], num_keys: int, device: torch.device) -> Bias:
    classes = xformers_module("xformers.ops.fmha.attn_bias")
    device = torch.device("cpu") if device.type == "meta" else device  # xformers pins what is for other devices
    lengths = [len(part) for part in keys]
    starts = [part.start for part in keys] + [num_keys]
    if all(part.stop == after for part, after in zip(keys, starts[1:], strict=True)) and starts[0] == 0:
        return cast(Bias, classes.BlockDiagonalMask.from_seqlens(queries, lengths, device=device))
    return cast(Bias, classes.BlockDiagonalGappyKeysMask.from_seqlens(queries, starts, lengths, device=device))


def seen_rows(biases: Biases, num_queries: int, num_keys: int) -> list[tuple[range, tuple[range, ...]]]:
    """What biases say, for kernels that take no bias: rows of each block's queries, and of the keys they see."""
    if not biases:
        return [(range(num_queries), (range(num_keys),))]
    queries = [range(*rows) for rows in biases[0].q_seqinfo.intervals()]
    keys = [[range(*rows) for rows in bias.k_seqinfo.intervals()] for bias in biases]
    return list(zip(queries, zip(*keys, strict=True), strict=True))
