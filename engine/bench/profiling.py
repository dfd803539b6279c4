"""Where the time of one step goes: matrix products, attention, exchange between ranks, and what lies between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from engine.bench.clock import Clock
from engine.bench.device import ATTENTION_WORDS

PRODUCTS, ATTENTION, EXCHANGE, REST = "matrix products", "attention", "exchange", "the rest"
# parts of operators' names, the first that fits
WORDS = {
    ATTENTION: ATTENTION_WORDS,
    PRODUCTS: ("mm", "linear", "gemm"),
    EXCHANGE: ("c10d", "nccl", "gloo", "all_to_all"),
}


def seconds_by_kind(
    step: Callable[[], float], seconds_per_step: float, device: torch.device, clock: Clock
) -> dict[str, float]:
    """Seconds of one more step by kind of operator.

    On a GPU they are those of kernels. On a CPU operators are timed as they are called, those between products one by
    one, never compiled; so of that kind is what remains of `seconds_per_step`, the interpreter's share included.
    """
    if device.type == "cuda":
        return _kernel_seconds(step)
    with OperatorClock(clock) as watched:
        step()
    found = watched.seconds
    return {**found, REST: max(seconds_per_step - sum(found[kind] for kind in WORDS), 0.0)}


def kind_of(name: str) -> str:
    """Of an operator or a kernel of this name."""
    lower = name.lower()
    return next((kind for kind, words in WORDS.items() if any(word in lower for word in words)), REST)


class OperatorClock(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the seconds of operators that run inside the `with` block, to be used without gradients.

    In inference mode attention is seen as a whole, before a kernel of it is chosen.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds = dict.fromkeys((PRODUCTS, ATTENTION, EXCHANGE, REST), 0.0)
        self._clock = clock

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - operators return anything
        began = self._clock()
        result = func(*args, **(kwargs or {}))
        self.seconds[kind_of(str(func))] += self._clock() - began
        return result


def _kernel_seconds(step: Callable[[], float]) -> dict[str, float]:
    """By the names of kernels; this has never run on a GPU yet."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as watched:
        step()
    found = dict.fromkeys((PRODUCTS, ATTENTION, EXCHANGE, REST), 0.0)
    for event in watched.key_averages():
        found[kind_of(event.key)] += event.self_device_time_total / 1e6
    return found
