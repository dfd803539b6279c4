"""One generated clip: what the model decoded, and what is delivered of it, as long and as large as was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.mux import enlarged, write_mp4
from engine.resample import resample
from hhray.errors import EngineFault
from hhray.geometry import FRAMES_PER_SECOND, Size, frames_at_24

FRAME_RATES = (24, 25)
SAMPLE_RATES = (44_100, 48_000)


@dataclass(frozen=True, slots=True)
class SaveReport:
    """A written file: its bytes, its frames, and its samples per channel."""

    num_bytes: int
    num_frames: int
    num_samples: int


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """`decoded` uint8 RGB [F', H', W', 3] as it left the codec and `sound` float32 stereo [2, N] at `sound_rate` Hz,
    both on the CPU; `size` and `num_frames` (of 25 a second) of the delivery, whose frames may be 25 or 24 a second and
    whose sound has 48,000 or 44,100 samples a second. `notice` tells the client what is particular about it.

    Raises:
        EngineFault: fewer frames were decoded than are to be delivered, or a shape, dtype or rate is another.
    """

    decoded: Tensor
    sound: Tensor
    sound_rate: int
    size: Size
    num_frames: int
    frames_per_second: int = FRAMES_PER_SECOND
    sample_rate: int = 48_000
    notice: str = ""

    def __post_init__(self) -> None:
        decoded, sound = self.decoded, self.sound
        if decoded.dtype is not torch.uint8 or decoded.ndim != 4 or not 0 < self.num_frames <= len(decoded):
            raise EngineFault(f"no clip of {self.num_frames} frames in {decoded.dtype} {tuple(decoded.shape)}")
        if sound.dtype is not torch.float32 or sound.ndim != 2 or len(sound) != 2:
            raise EngineFault(f"the sound of a clip is float32 [2, N], not {sound.dtype} {tuple(sound.shape)}")
        if self.frames_per_second not in FRAME_RATES or self.sample_rate not in SAMPLE_RATES:
            raise EngineFault(f"no clips of {self.frames_per_second} frames and {self.sample_rate} samples a second")

    @property
    def seconds(self) -> float:
        """How long picture and sound last."""
        return self.num_frames / FRAMES_PER_SECOND

    @property
    def frames(self) -> Tensor:
        """The delivered frames, uint8 RGB [F, H, W, 3] of `size`: those the file shows, before its compression."""
        return torch.from_numpy(np.stack(list(self._enlarged())))

    @property
    def audio(self) -> Tensor:
        """The delivered sound, float32 stereo [2, sample_rate * seconds] in [-1, 1]: cut, or silent after its end."""
        num_samples = self.sample_rate * self.num_frames // FRAMES_PER_SECOND
        sound = resample(self.sound, self.sound_rate, self.sample_rate)[:, :num_samples].clamp(-1, 1)
        return F.pad(sound, (0, num_samples - sound.shape[1]))

    def save(self, path: str | Path, threads: int = 1) -> SaveReport:
        """Write an MP4 (H.264, AAC) as long as `seconds`; frames are enlarged one at a time. A file of that name is
        replaced. `threads` are the video encoder's."""
        path, audio = Path(path), self.audio.numpy()
        write_mp4(path, self._enlarged(), audio, self.size, self.frames_per_second, self.sample_rate, threads)
        return SaveReport(path.stat().st_size, len(self._chosen()), audio.shape[1])

    def _chosen(self) -> range | tuple[int, ...]:
        return range(self.num_frames) if self.frames_per_second == FRAMES_PER_SECOND else frames_at_24(self.num_frames)

    def _enlarged(self) -> Iterator[NDArray[np.uint8]]:
        return (enlarged(self.decoded[index].numpy(), self.size) for index in self._chosen())
