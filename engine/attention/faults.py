"""Holds a backend against attention by its definition, on small problems of every kind."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.attention.bias import biases_of
from engine.attention.blocks import QueryBlock
from engine.attention.head_kind import Backend, HeadKind

Blocks = tuple[QueryBlock, ...]
Error = Callable[[Tensor, Tensor, Blocks], float]

# one clip, packed clips, and a local window: two ranges of keys for some, one for others, and they overlap
PROBES = (
    (QueryBlock(range(100), (range(100),)),),
    (QueryBlock(range(37), (range(37),)), QueryBlock(range(37, 100), (range(37, 100),))),
    (
        QueryBlock(range(20), (range(50), range(90, 100))),
        QueryBlock(range(20, 90), (range(10, 100),)),
        QueryBlock(range(90, 100), (range(100),)),
    ),
)
TOLERANCES = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 2e-3}  # of means of normal numbers
# in 8 bits: as many keys as the kernels are for, of a number that is no multiple of theirs, and two ranges of them
INT8_PROBES = (
    (QueryBlock(range(133), (range(4097),)),),
    (
        QueryBlock(range(70), (range(100), range(300, 4521))),
        QueryBlock(range(70, 133), (range(4521),)),
    ),
)
# relative; rounding alone makes 0.011 to 0.015 with normal numbers, whatever the channels of a head
INT8_TOLERANCE = 0.025


def fault(backend: Backend, kind: HeadKind) -> str:
    """Why a backend cannot be used for heads of this kind; empty when it can."""
    return _fault(backend, kind, PROBES, largest_error, TOLERANCES[kind.dtype])


def int8_fault(backend: Backend, kind: HeadKind) -> str:
    """The same of a backend that rounds queries and keys to 8 bits, to which `INT8_TOLERANCE` applies."""
    return _fault(backend, kind, INT8_PROBES, relative_error, INT8_TOLERANCE)


def _fault(backend: Backend, kind: HeadKind, probes: tuple[Blocks, ...], error_of: Error, tolerance: float) -> str:
    try:
        for blocks in probes:
            num_keys = max(part.stop for block in blocks for part in block.keys)
            q, k, v = kind.random(blocks[-1].queries.stop, num_keys)
            mixed = backend(q, k, v, biases_of(blocks, num_keys, kind.device))
            off = error_of(mixed.double(), masked_softmax(q, k, v, blocks), blocks)
            if not off <= tolerance:  # neither is NaN
                return f"it is wrong by {off:.2g}"
    except Exception as error:  # noqa: BLE001 - foreign kernels fail each in its own way, and all mean the same
        return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    return ""


def largest_error(mixed: Tensor, exact: Tensor, _blocks: Blocks) -> float:
    """The largest difference of two float64 [s, H, D]."""
    return (mixed - exact).abs().max().item()


def relative_error(mixed: Tensor, exact: Tensor, blocks: Blocks) -> float:
    """||x - y|| / ||y|| of float64 x and y [s, H, D], in the block of queries and the head where it is largest.

    Rounding shifts scores by about as much for many keys as for few, while outcomes of many keys are small.
    """
    shares = []
    for block in blocks:
        off, whole = (x[block.queries.start : block.queries.stop] for x in (mixed - exact, exact))
        shares.append(torch.linalg.vector_norm(off, dim=(0, 2)) / torch.linalg.vector_norm(whole, dim=(0, 2)))
    return torch.stack(shares).max().item()


def masked_softmax(q: Tensor, k: Tensor, v: Tensor, blocks: Blocks) -> Tensor:
    """Attention by its definition, in float64 with a dense mask: what every backend is held against."""
    query = q.double()
    key, value = (x.double().repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    hidden = torch.ones(len(q), len(k), dtype=torch.bool, device=q.device)
    for block in blocks:
        for part in block.keys:
            hidden[block.queries.start : block.queries.stop, part.start : part.stop] = False
    scores = torch.einsum("qhd,khd->hqk", query, key) / q.shape[2] ** 0.5
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, float("-inf")).softmax(2), value)
