"""Where noise comes from."""

from __future__ import annotations

import torch
from torch import Tensor


class NoiseSource:
    """Standard normal noise of one request, from a generator of its own.

    Drawn on the CPU and then moved, so that it depends on the seed alone: not on the device, the batch, or the number
    of ranks. With `reference` it is drawn by a generator of `device` itself instead, as the published pipeline does:
    on a CUDA device the same seed then gives that pipeline's numbers, and other numbers than a CPU.

    Either way the order of the draws is the published one: initial audio (unless given), initial video, in each
    distilled step video then audio, and for super-resolution from the same source video then audio.
    """

    def __init__(self, seed: int, device: torch.device, reference: bool = False) -> None:
        self._source = device if reference else torch.device("cpu")
        self._generator = torch.Generator(self._source).manual_seed(seed)
        self._device = device

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """float32 noise of that shape, on the device; pinned memory lets the copy run without waiting for it."""
        pinned = self._device.type == "cuda" and self._source.type == "cpu"
        noise = torch.randn(shape, generator=self._generator, device=self._source, pin_memory=pinned)
        return noise.to(self._device, non_blocking=True)

    @property
    def state(self) -> Tensor:
        """Where the generator stands: uint8 on the CPU, of a length that depends on the kind of generator only."""
        return self._generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self._generator.set_state(state)
