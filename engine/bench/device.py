"""The device a rank measures on: waiting for it, its memory, and which attention kernels it ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ATTENTION_WORDS = ("attention", "flash", "fmha")
MATRIX_PRODUCTS = "matrix products and softmax"


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rank_device(kind: str, rank: int) -> torch.device:
    """The CPU, or GPU number `rank`, which becomes the current one."""
    if kind == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    return device


def release(device: torch.device) -> None:
    """Give memory that nobody uses any more back to the GPU: another process, or larger tensors, may need it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def begin_peak(device: torch.device) -> None:
    """Forget what a GPU held before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_of(device: torch.device, counted: int) -> int:
    """The most bytes allocated on a GPU since `begin_peak`; elsewhere nobody knows, and `counted` are it."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else counted


class KernelWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the names of attention operators that run inside the `with` block.

    To be used with gradients off but not in inference mode, in which torch's attention is seen before a kernel of it is
    chosen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names: dict[str, None] = {}

    @property
    def kernels(self) -> tuple[str, ...]:
        """The operators in order of appearance; one plain name where torch took attention apart."""
        return tuple(self._names) or (MATRIX_PRODUCTS,)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - operators return anything
        name = str(func)
        if any(word in name for word in ATTENTION_WORDS):
            self._names[name.removesuffix(".default")] = None
        return func(*args, **(kwargs or {}))
