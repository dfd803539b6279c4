"""Where a component's weights lie while it is not used, and how they come to the device when it is (specification 5.4).

Weights that leave the device have a copy on the host, pinned where the device is a CUDA one. Bringing them makes new
tensors on the device; dropping them puts the host's back in their place. On a CPU the same is done with copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hhray.memory_parts import Place


class HostWeights:
    """All parameters and buffers of a module, on the host; `bring` and `drop` put them on the device and back."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._device = device
        tensors = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        self._pairs = [(tensor, self._on_host(tensor)) for tensor in tensors.values()]
        self.present = False

    def bring(self) -> None:
        """Copies on the device, in the order of the current stream; nothing if they are there."""
        # tensors made in inference mode could not take the place of others
        with torch.inference_mode(False), torch.no_grad():
            for tensor, host in self._pairs if not self.present else ():
                tensor.data = torch.empty_like(host, device=self._device).copy_(host, non_blocking=True)
        self.present = True

    def drop(self) -> None:
        """Free what is on the device."""
        with torch.inference_mode(False), torch.no_grad():
            for tensor, host in self._pairs:
                tensor.data = host
        self.present = False

    def used_by(self, stream: torch.cuda.Stream) -> None:
        """Tell the allocator that work queued on `stream` reads the copies."""
        for tensor, _ in self._pairs:
            tensor.record_stream(stream)

    def _on_host(self, tensor: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            host = tensor.detach().cpu()
            tensor.data = host.pin_memory() if self._device.type == "cuda" else host
            return tensor.data


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

    What comes before the layers, such as an embedding, is computed on the host; `head`, which follows, stays on the
    device. At most two layers are on the device at once.
    """

    place = Place.OFFLOADED

    def __init__(self, module: nn.Module, layers: Sequence[nn.Module], head: nn.Module, device: torch.device) -> None:
        self.module, self.layers, self._device = module, list(layers), device
        head.to(device)
        self._hosts = [HostWeights(layer, device) for layer in self.layers]
        self._side: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._copied, self._computed = (
                [torch.cuda.Event() for _ in self.layers]  # type: ignore[no-untyped-call]
                for _ in range(2)
            )
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
        """Free what a forward pass that failed left behind."""
        for host in self._hosts:
            host.drop()

    def _before(self, index: int, _layer: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:  # noqa: ANN401
        self._bring(index)
        if self._side is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(self._copied[index])
            self._hosts[index].used_by(current)
            if index:  # or the queue could run ahead of the device, and hold more than two layers
                self._computed[index - 1].synchronize()
        if index + 1 < len(self.layers):
            self._bring(index + 1)
        return _moved(args, self._device), _moved(kwargs, self._device)

    def _after(self, index: int, _layer: nn.Module, _args: Any, _output: Any) -> None:  # noqa: ANN401
        if self._side is not None:
            self._computed[index].record(torch.cuda.current_stream(self._device))
        self._hosts[index].drop()

    def _bring(self, index: int) -> None:
        if self._side is None or self._hosts[index].present:
            self._hosts[index].bring()
            return
        with torch.cuda.stream(self._side):
            self._hosts[index].bring()
            self._copied[index].record(self._side)


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
