"""Measures the memory of activations: the largest sum of tensors alive at one time during a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class ActivationMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts storages that operators make inside the `with` block, for as long as they live.

    After every operator the sum of those still alive is compared with `peak_bytes`. Tensors in `existing` (weights and
    inputs) do not count, and scratch memory inside one operator is not seen. Watching costs some 20 us an operator:
    one step of a batch is measured, not all.
    """

    def __init__(self, existing: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._existing = WeakSet(tensor.untyped_storage() for tensor in existing)
        self._bytes: WeakKeyDictionary[UntypedStorage, int] = WeakKeyDictionary()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - operators return anything
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage not in self._existing:
                    self._bytes[storage] = storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, sum(self._bytes.values()))
        return result


def reset_cuda_peak(device: torch.device) -> int:
    """Start a measurement on a CUDA device; returns the bytes allocated now, to be subtracted from the peak."""
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)
