"""Where the time of one step goes: matrix products, attention, exchange between ranks, and what lies between them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from engine.bench.device import ATTENTION_WORDS

PRODUCTS, ATTENTION, EXCHANGE, REST = "matrix products", "attention", "exchange", "the rest"
# parts of operators' names, the first that fits
WORDS = {
    ATTENTION: ATTENTION_WORDS,
    PRODUCTS: ("mm", "linear", "gemm"),
    EXCHANGE: ("c10d", "nccl", "gloo", "all_to_all"),
}


def seconds_by_kind(step: Callable[[], float], device: torch.device) -> dict[str, float]:
    """Seconds of one more step, by kind of operator.

    On a GPU kernels count, and the rest is theirs; on a CPU the rest is all that remains of the step: compiled kernels
    have no name there, and the interpreter takes its share.
    """
    on_cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    with profile(activities=activities) as watched:
        whole = step()
    found = dict.fromkeys((PRODUCTS, ATTENTION, EXCHANGE, REST), 0.0)
    for event in watched.key_averages():
        microseconds = event.self_device_time_total if on_cuda else event.self_cpu_time_total
        found[kind_of(event.key)] += microseconds / 1e6
    if not on_cuda:
        found[REST] = max(whole - sum(found[kind] for kind in WORDS), 0.0)
    return found


def kind_of(name: str) -> str:
    """Of an operator or a kernel of this name."""
    lower = name.lower()
    return next((kind for kind, words in WORDS.items() if any(word in lower for word in words)), REST)
