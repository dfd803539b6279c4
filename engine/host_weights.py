"""The weights of a module on the host, pinned where the device is a CUDA one, and their copies on the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
