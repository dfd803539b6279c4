"""The one function, and the choice of backends that all its calls in a process share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.attention.bias import biases_of
from engine.attention.blocks import QueryBlock
from engine.attention.choice import BackendChoice
from engine.attention.head_kind import HeadKind
from hhray.errors import ConfigError

# (q [s, H, D], k [S, K, D], v [S, K, D], blocks of their rows) -> [s, H, D], as attend_blocks
Kernel = Callable[[Tensor, Tensor, Tensor, Sequence[QueryBlock]], Tensor]

_CHOICE = BackendChoice()  # a fact of the process and its device, as the kernels themselves are


def attend_blocks(q: Tensor, k: Tensor, v: Tensor, blocks: Sequence[QueryBlock], *, int8: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(D)) v of each block's queries over the keys it sees.

    Args:
        q: [s, H, D]; query head n reads key head n // (H / K).
        k, v: [S, K, D], of the dtype of q.
        blocks: rows of q, together all of them in order, and the rows of k and v that they see.
        int8: whether queries and keys may be rounded to 8 bits, where a kernel for that is right and fastest.

    Returns:
        [s, H, D] in the dtype of q.

    Raises:
        ValueError: a block sees fewer keys than another one sees ranges of them.
    """
    if not len(q):
        return torch.empty_like(q)
    seen = tuple(blocks)
    kind = HeadKind(q.device, q.dtype, q.shape[1], k.shape[1], q.shape[2], int8)
    backend = _CHOICE.backend(kind, seen)
    return backend(q, k, v, biases_of(seen, len(k), q.device))


def attend_blocks_int8(q: Tensor, k: Tensor, v: Tensor, blocks: Sequence[QueryBlock]) -> Tensor:
    """attend_blocks with queries and keys that may be rounded to 8 bits."""
    return attend_blocks(q, k, v, blocks, int8=True)


KERNELS: dict[str, Kernel] = {"plain": attend_blocks, "int8": attend_blocks_int8}


def attention_kernel(precision: str) -> Kernel:
    """attend_blocks as the setting `engine.attention_precision` wants it: plain, or int8.

    Raises:
        ConfigError: it is another word.
    """
    if precision not in KERNELS:
        raise ConfigError(f"attention precision {precision!r} is not known; choose one of: {', '.join(KERNELS)}")
    return KERNELS[precision]


def measure_attention(kind: HeadKind, blocks: tuple[QueryBlock, ...], num_keys: int) -> None:
    """Find the fastest backend for that shape and those next to it. At warm-up only; a CPU needs none.

    Args:
        kind: heads as attend_blocks will see them: with Ulysses a rank's share.
        blocks, num_keys: as attend_blocks will see them.
    """
    _CHOICE.measure(kind, blocks, num_keys)


def pin_attention(pinned: bool = True) -> None:
    """Run the preferred backend whatever was measured, for results that can be repeated; False: the fastest again."""
    _CHOICE.pinned = pinned


def consider_compiled_attention() -> None:
    """Measure backends that must be compiled first too, for the report; they never run. To be called first of all."""
    _CHOICE.compiled = True


def attention_backends() -> dict[str, str]:
    """What runs for which heads and shapes, and what cannot and why, for /healthz."""
    return _CHOICE.report()
