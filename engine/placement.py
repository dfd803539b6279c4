"""Where a component's weights lie while it is not used, and how they come to the device when it is (specification 5.4).

Weights that leave the device have a copy on the host, pinned where the device is a CUDA one. Bringing them makes new
tensors on the device; dropping them puts the host's back in their place. On a CPU the same is done with copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from engine.copy_lane import Lane, lane_for
from engine.host_weights import HostWeights
from hhray.memory_parts import Place


class Resident:
    """On the device from the start, or on the host and computed by the CPU."""

    def __init__(self, module: nn.Module, device: torch.device, place: Place = Place.RESIDENT) -> None:
        self.place, self.module = place, module.to(device)

    def enter(self) -> None:
        """Before the component is used."""

    def leave(self) -> None:
        """Once another component needs the room."""


class Swapped:
    """On the device between `enter` and `leave` only."""

    place = Place.SWAPPED

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.module, self._host = module, HostWeights(module, device)

    @property
    def present(self) -> bool:
        return self._host.present

    def enter(self) -> None:
        """Copy the weights to the device, unless they are there."""
        self._host.bring()

    def leave(self) -> None:
        """Free them."""
        self._host.drop()


class Offloaded:
    """One layer at a time is on the device; the next one is copied on a side stream while it computes.

    `kept` are parts that stay on the device. With `again` the stack is passed again and again: the first layer is
    copied while the last one computes. At most two layers are on the device at once. What is neither layer nor kept,
    such as an embedding that comes before, is computed on the host.
    """

    place = Place.OFFLOADED

    def __init__(
        self,
        module: nn.Module,
        layers: Iterable[nn.Module],
        kept: Iterable[nn.Module],
        device: torch.device,
        *,
        again: bool = False,
        lane: Callable[[Sequence[HostWeights], torch.device], Lane] = lane_for,
    ) -> None:
        self.module, self.layers, self._device, self._again = module, list(layers), device, again
        for part in kept:
            part.to(device)
        self._hosts = [HostWeights(layer, device) for layer in self.layers]
        self._lane = lane(self._hosts, device)
        for index, layer in enumerate(self.layers):
            layer.register_forward_pre_hook(partial(self._before, index), with_kwargs=True)
            layer.register_forward_hook(partial(self._after, index))

    @property
    def present(self) -> list[int]:
        """Layers that are on the device now."""
        return [index for index, host in enumerate(self._hosts) if host.present]

    def enter(self) -> None:
        """Nothing: layers come when they compute."""

    def leave(self) -> None:
        """Free what is there: the first layer, copied for another pass, or what a pass that failed left behind."""
        for host in self._hosts:
            host.drop()

    def _before(self, index: int, _layer: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:  # noqa: ANN401
        self._lane.bring(index)  # the first of a pass; others are there, or on their way
        self._lane.wait(index)
        return _moved(args, self._device), _moved(kwargs, self._device)

    def _after(self, index: int, _layer: nn.Module, _args: Any, _output: Any) -> None:  # noqa: ANN401
        """This layer's computing is queued, so that the device has work while the host waits for the one before."""
        count = len(self.layers)
        self._lane.computed(index)
        self._lane.settle((index - 1) % count)  # or there could be more than two layers
        if index + 1 < count or self._again:
            self._lane.bring((index + 1) % count)


Placement = Resident | Swapped | Offloaded


def _moved(value: Any, device: torch.device) -> Any:  # noqa: ANN401 - arguments of any layer
    """Tensors in tuples and dicts, on the device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    return value
