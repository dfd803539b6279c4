"""Which backends this machine has, found by running each once on a small problem and looking at what comes out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engine.attention.faults import fault, int8_fault
from engine.attention.head_kind import Backend, HeadKind
from engine.attention.int8_backend import PACKAGE, plain_int8, sage_int8
from engine.attention.torch_backends import JoinedKeys, MergedParts, cudnn, flash_cpu, flash_cuda
from engine.attention.xformers_backend import xformers_kernels

logger = logging.getLogger(__name__)


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

    Where 8 bits are allowed a kernel that uses them is preferred, and the others compete; on a CPU nothing does.
    """
    if kind.device.type != "cuda":
        plain = (JoinedKeys(), MergedParts("torch flash, parts merged", flash_cpu))
        return Found((plain_int8(),) if kind.int8 else plain, {})
    refused: dict[str, str] = {}
    rounded = _right(_int8_candidates(refused), kind, refused, int8_fault) if kind.int8 else ()
    backends = (*rounded, *_right(_cuda_candidates(refused), kind, refused))
    measured = _right(_compiled_candidates(), kind, refused) if compiled else ()
    for name, reason in refused.items():
        logger.info("attention (%s): no %s: %s", kind, name, reason)
    return Found((*backends, JoinedKeys()), refused, measured)


def _right(
    candidates: Iterable[Backend],
    kind: HeadKind,
    refused: dict[str, str],
    fault_of: Callable[[Backend, HeadKind], str] = fault,
) -> tuple[Backend, ...]:
    """Those without fault, one of a name; the others are put into `refused`."""
    right: dict[str, Backend] = {}
    for backend in candidates:
        if backend.name in right:
            continue
        problem = fault_of(backend, kind)
        if problem:
            refused[backend.name] = problem
        else:
            right[backend.name] = backend
            refused.pop(backend.name, None)
    return tuple(right.values())


def _cuda_candidates(refused: dict[str, str]) -> list[Backend]:
    candidates: list[Backend] = []
    try:
        candidates += xformers_kernels()
        if not candidates:
            refused["xformers"] = "it has neither FlashAttention-3 nor -2 here"
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        refused["xformers"] = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    return [*candidates, MergedParts("torch cudnn", cudnn), MergedParts("torch flash", flash_cuda)]


def _int8_candidates(refused: dict[str, str]) -> list[Backend]:
    try:
        return [sage_int8()]
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        refused[PACKAGE] = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        return []


def _compiled_candidates() -> list[Backend]:
    from engine.attention.flex_backend import FlexKernel  # noqa: PLC0415 - it imports torch's compiler

    return [FlexKernel()]
