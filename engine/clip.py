"""One generated clip: what the model decoded, and what is delivered of it, as long and as large as was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.delivery import Delivery
from engine.marking.clip_marks import UNMARKED_CLIP, ClipMarks
from engine.mux import write_mp4
from engine.pixels import PixelLayout, enlarged
from engine.video_encoder import X264
from hhray.errors import EngineFault
from hhray.geometry import FRAMES_PER_SECOND, Size


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
        _ = self.delivery  # which refuses rates

    @property
    def delivery(self) -> Delivery:
        """What of it is delivered."""
        return Delivery(self.size, self.num_frames, self.frames_per_second, self.sample_rate)

    @property
    def seconds(self) -> float:
        """How long picture and sound last."""
        return self.num_frames / FRAMES_PER_SECOND

    @property
    def frames(self) -> Tensor:
        """The delivered frames, uint8 RGB [F, H, W, 3] of `size`: those the file shows, before its compression."""
        chosen = (self.decoded[index].numpy() for index in self.delivery.chosen)
        return torch.from_numpy(np.stack([enlarged(frame, self.size) for frame in chosen]))

    @property
    def audio(self) -> Tensor:
        """The delivered sound, float32 stereo [2, sample_rate * seconds] in [-1, 1]: cut, or silent after its end."""
        return self.delivery.audio(self.sound, self.sound_rate)

    def save(self, path: str | Path, marks: ClipMarks = UNMARKED_CLIP) -> SaveReport:
        """Write an MP4 (H.264, AAC) as long as `seconds`; frames are enlarged one at a time. A file of that name is
        replaced. Its marks are those of engine.marking.clip_marks.marks_of; by default there are none."""
        path, delivery = Path(path), self.delivery
        _, height, width, _ = self.decoded.shape
        layout = PixelLayout.of_clip(Size(width, height), self.size)
        frames = (layout.laid_out(self.decoded[index : index + 1])[0] for index in delivery.chosen)
        pictures = marks.drawn_on(layout.pictures(frames, own=marks.draws))
        write_mp4(path, pictures, lambda: self.audio, delivery, X264, marks.tags)
        return SaveReport(path.stat().st_size, len(delivery.chosen), delivery.num_samples)
