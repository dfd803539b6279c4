"""Which backends this machine has, found by running each once on a small problem and looking at what comes out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.attention.bias import Biases, biases_of
from engine.attention.blocks import QueryBlock
from engine.attention.torch_backends import JoinedKeys, MergedParts, cudnn, flash_cpu, flash_cuda
from engine.attention.xformers_backend import xformers_kernels

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True, slots=True)
class HeadKind:
    """What a kernel is built for: a device, a float type, query heads, the key heads they share, channels of a head."""

    device: torch.device
    dtype: torch.dtype
    heads: int
    kv_heads: int
    head_dim: int

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return f"{name} on {self.device.type}, {self.heads} heads over {self.kv_heads} of {self.head_dim}"

    def random(self, num_queries: int, num_keys: int) -> tuple[Tensor, Tensor, Tensor]:
        """Normal q [queries, H, D], k and v [keys, K, D], the same each time."""
        generator = torch.Generator(self.device).manual_seed(0)
        shapes = ((num_queries, self.heads), (num_keys, self.kv_heads), (num_keys, self.kv_heads))
        q, k, v = (
            torch.randn(*shape, self.head_dim, generator=generator, device=self.device, dtype=self.dtype)
            for shape in shapes
        )
        return q, k, v


class Backend(Protocol):
    """Attention by some kernel."""

    @property
    def name(self) -> str:
        """As /healthz tells it."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, biases: Biases) -> Tensor:
        """q [s, H, D], k and v [S, K, D] of one float type -> [s, H, D] of that type; biases of s queries, S keys."""


@dataclass(frozen=True, slots=True)
class Found:
    """Backends that are right here, the preferred first, and why others are not; `measured` compete but never run."""

    backends: tuple[Backend, ...]
    refused: dict[str, str]
    measured: tuple[Backend, ...] = ()


def find_backends(kind: HeadKind, compiled: bool = False) -> Found:
    """Look at every backend for heads of this kind; `compiled`: at those that must be compiled first, too.

    On a CPU there is nothing to probe: both are tested. On CUDA no more than `JoinedKeys` is taken on trust; every
    other kernel must agree with a masked softmax in float64. No kernel for CUDA has run where this was written.
    """
    if kind.device.type != "cuda":
        return Found((JoinedKeys(), MergedParts("torch flash, parts merged", flash_cpu)), {})
    refused: dict[str, str] = {}
    backends = _right(_cuda_candidates(refused), kind, refused)
    measured = _right(_compiled_candidates(), kind, refused) if compiled else ()
    for name, reason in refused.items():
        logger.info("attention (%s): no %s: %s", kind, name, reason)
    return Found((*backends, JoinedKeys()), refused, measured)


def _right(candidates: Iterable[Backend], kind: HeadKind, refused: dict[str, str]) -> tuple[Backend, ...]:
    """Those without fault, one of a name; the others are put into `refused`."""
    right: dict[str, Backend] = {}
    for backend in candidates:
        if backend.name in right:
            continue
        problem = fault(backend, kind)
        if problem:
            refused[backend.name] = problem
        else:
            right[backend.name] = backend
            refused.pop(backend.name, None)
    return tuple(right.values())


def fault(backend: Backend, kind: HeadKind) -> str:
    """Why a backend cannot be used for heads of this kind; empty when it can."""
    try:
        for blocks in PROBES:
            num_keys = max(part.stop for block in blocks for part in block.keys)
            q, k, v = kind.random(blocks[-1].queries.stop, num_keys)
            mixed = backend(q, k, v, biases_of(blocks, num_keys, kind.device))
            difference = (mixed.double() - masked_softmax(q, k, v, blocks)).abs().max().item()
            if not difference <= TOLERANCES[kind.dtype]:  # neither is NaN
                return f"it is wrong by {difference:.2g}"
    except Exception as error:  # noqa: BLE001 - foreign kernels fail each in its own way, and all mean the same
        return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    return ""


def masked_softmax(q: Tensor, k: Tensor, v: Tensor, blocks: tuple[QueryBlock, ...]) -> Tensor:
    """Attention by its definition, in float64 with a dense mask: what every backend is held against."""
    query = q.double()
    key, value = (x.double().repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    hidden = torch.ones(len(q), len(k), dtype=torch.bool, device=q.device)
    for block in blocks:
        for part in block.keys:
            hidden[block.queries.start : block.queries.stop, part.start : part.stop] = False
    scores = torch.einsum("qhd,khd->hqk", query, key) / q.shape[2] ** 0.5
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, float("-inf")).softmax(2), value)


def _cuda_candidates(refused: dict[str, str]) -> list[Backend]:
    candidates: list[Backend] = []
    try:
        candidates += xformers_kernels()
        if not candidates:
            refused["xformers"] = "it has neither FlashAttention-3 nor -2 here"
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        refused["xformers"] = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    return [*candidates, MergedParts("torch cudnn", cudnn), MergedParts("torch flash", flash_cuda)]


def _compiled_candidates() -> list[Backend]:
    from engine.attention.flex_backend import FlexKernel  # noqa: PLC0415 - it imports torch's compiler

    return [FlexKernel()]
