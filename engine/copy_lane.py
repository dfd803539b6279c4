"""How the weights of a stack of layers come to the device one after another, beside the computing.

A lane copies layers by their index. Whoever computes brings a layer, waits for it, computes, and says when all of that
is queued; `settle` then tells when it is over and the layer's room is free again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from engine.host_weights import HostWeights


class Lane(Protocol):
    """Copies of layers, by index."""

    def bring(self, index: int) -> None:
        """Begin to copy a layer to the device, unless it is there or on its way."""

    def wait(self, index: int) -> None:
        """What is queued from now on computes only when the layer is there."""

    def computed(self, index: int) -> None:
        """All computing of the layer is queued: its room is free when that is done."""

    def settle(self, index: int) -> None:
        """Wait on the host until the layer's last computing is done; not at all if it never computed."""


class InOrder:
    """Copies at once, where there is no second stream: on a CPU."""

    def __init__(self, layers: Sequence[HostWeights]) -> None:
        self._layers = layers

    def bring(self, index: int) -> None:
        self._layers[index].bring()

    def wait(self, index: int) -> None:
        """Nothing: it is there."""

    def computed(self, index: int) -> None:
        self._layers[index].drop()

    def settle(self, index: int) -> None:
        """Nothing: it is done."""


class SideStream:
    """Copies on a stream of its own, from pinned memory, while the current stream computes. Never run on a GPU yet."""

    def __init__(self, layers: Sequence[HostWeights], device: torch.device) -> None:
        self._layers, self._device = layers, device
        self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._copied, self._done = (
            [torch.cuda.Event() for _ in layers]  # type: ignore[no-untyped-call]
            for _ in range(2)
        )

    def bring(self, index: int) -> None:
        if self._layers[index].present:
            return
        with torch.cuda.stream(self._side):
            self._layers[index].bring()
            self._copied[index].record(self._side)

    def wait(self, index: int) -> None:
        current = torch.cuda.current_stream(self._device)
        current.wait_event(self._copied[index])
        self._layers[index].used_by(current)

    def computed(self, index: int) -> None:
        self._done[index].record(torch.cuda.current_stream(self._device))
        self._layers[index].drop()

    def settle(self, index: int) -> None:
        self._done[index].synchronize()


def lane_for(layers: Sequence[HostWeights], device: torch.device) -> Lane:
    """A side stream on a CUDA device, else copies in order."""
    return SideStream(layers, device) if device.type == "cuda" else InOrder(layers)
