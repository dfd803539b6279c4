"""Memory for a clip's frames on the CPU, filled from the first on while another thread reads behind."""

from __future__ import annotations

from threading import Condition

import torch
from torch import Tensor

from hhray.errors import EngineFault


class FrameBuffer:
    """uint8 [num_frames, *frame_shape] in `pixels`, all of it from the start, so that decoding never waits for a file.

    With `pinned` memory copies from a CUDA device are queued, and readers wait for them (never run on a GPU so far).
    """

    def __init__(self, num_frames: int, frame_shape: tuple[int, ...], pinned: bool = False) -> None:
        self.pixels = torch.empty((num_frames, *frame_shape), dtype=torch.uint8, pin_memory=pinned)
        self._changed = Condition()
        self._parts: list[tuple[int, torch.cuda.Event | None]] = []  # where each part ends, and when it is there
        self._stop = 0
        self._failure: BaseException | None = None

    def room(self, num_frames: int, device: torch.device) -> Tensor:
        """Where the next frames can be received: on a CPU this memory itself, else some of the device's."""
        part = self.pixels[self._stop : self._stop + num_frames]
        return part if device.type == "cpu" else torch.empty_like(part, device=device)

    def put(self, frames: Tensor) -> None:
        """The next frames, uint8 [n, *frame_shape] on any device, or in `room`.

        Raises:
            EngineFault: there is no room for so many, or they have another shape.
        """
        part = self.pixels[self._stop : self._stop + len(frames)]
        if part.shape != frames.shape:
            raise EngineFault(f"frames {tuple(frames.shape)} after {self._stop} do not fit {tuple(self.pixels.shape)}")
        arrival = None
        if frames.data_ptr() != part.data_ptr():
            part.copy_(frames, non_blocking=True)
            if frames.is_cuda:
                arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
                arrival.record()
        with self._changed:
            self._stop += len(frames)
            self._parts.append((self._stop, arrival))
            self._changed.notify_all()

    def fail(self, reason: BaseException) -> None:
        """No more frames will come: readers that wait are told so, and those that come."""
        with self._changed:
            self._failure = self._failure or reason
            self._changed.notify_all()

    def frame(self, index: int) -> Tensor:
        """Frame `index`, waited for: uint8 [*frame_shape], not a copy.

        Raises:
            EngineFault: it will not come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or index < self._stop)
            if self._failure is not None:
                raise EngineFault(f"frame {index} was not decoded: {self._failure}") from self._failure
            arrival = next(event for stop, event in self._parts if index < stop)
        if arrival is not None:
            arrival.synchronize()
        return self.pixels[index]
