"""What is delivered of a decoded clip: its size, length, rates, and sound cut to the length of its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from engine.resample import resample
from hhray.errors import EngineFault
from hhray.geometry import FRAMES_PER_SECOND, Size, frames_at_24

FRAME_RATES = (24, 25)
SAMPLE_RATES = (44_100, 48_000)


@dataclass(frozen=True, slots=True)
class Delivery:
    """`num_frames` are counted at 25 a second; the file shows 25 or 24 of them a second.

    Raises:
        EngineFault: a rate that no clip has.
    """

    size: Size
    num_frames: int
    frames_per_second: int = FRAMES_PER_SECOND
    sample_rate: int = 48_000

    def __post_init__(self) -> None:
        if self.frames_per_second not in FRAME_RATES or self.sample_rate not in SAMPLE_RATES:
            raise EngineFault(f"no clips of {self.frames_per_second} frames and {self.sample_rate} samples a second")

    @property
    def chosen(self) -> Sequence[int]:
        """Which frames are shown, in order."""
        return range(self.num_frames) if self.frames_per_second == FRAMES_PER_SECOND else frames_at_24(self.num_frames)

    @property
    def num_samples(self) -> int:
        """Samples of each speaker: as long as the picture."""
        return self.sample_rate * self.num_frames // FRAMES_PER_SECOND

    def audio(self, sound: Tensor, sound_rate: int) -> Tensor:
        """float32 stereo [2, N] at `sound_rate` Hz -> float32 [2, num_samples] in [-1, 1]: cut, or silent at the end.

        Raises:
            EngineFault: that is no stereo sound.
        """
        if sound.ndim != 2 or len(sound) != 2:
            raise EngineFault(f"the sound of a clip is float32 [2, N], not {sound.dtype} {tuple(sound.shape)}")
        cut = resample(sound, sound_rate, self.sample_rate)[:, : self.num_samples].clamp(-1, 1)
        return F.pad(cut, (0, self.num_samples - cut.shape[1]))
