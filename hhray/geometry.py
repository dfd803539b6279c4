"""Clip geometry: from what a client asks (resolution, ratio, duration) to pixels, latents and tokens.

Everything about sizes is derived here, once. Strides: the video codec is 4 x 16 x 16 (time, height, width), a token is
a 1 x 2 x 2 patch of the latent grid, audio has one latent per 1/25 s (model specification 2.1, 2.2b).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

FRAMES_PER_SECOND = 25
AUDIO_LATENTS_PER_SECOND = 25
TEMPORAL_STRIDE = 4
SPATIAL_STRIDE = 16
PATCH = 2
MIN_DURATION, MAX_DURATION = 3, 15
DURATIONS = range(MIN_DURATION, MAX_DURATION + 1)


class Resolution(StrEnum):
    """Output tier. 256P is the base stage itself: a preview without super-resolution."""

    P256 = "256P"
    P480 = "480P"
    P720 = "720P"
    P1080 = "1080P"


class Ratio(StrEnum):
    """Aspect ratio, width : height."""

    R16_9 = "16:9"
    R9_16 = "9:16"
    R1_1 = "1:1"
    R4_3 = "4:3"
    R3_4 = "3:4"
    R4_5 = "4:5"
    R5_4 = "5:4"
    R9_21 = "9:21"
    R21_9 = "21:9"


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in whole pixels from its left upper corner."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Size:
    """A picture's size in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def aspect(self) -> float:
        return self.width / self.height

    def run(self) -> Size:
        """The size the model runs at: the next multiple of 32 on each side; cropped after decode."""
        unit = SPATIAL_STRIDE * PATCH
        return Size(math.ceil(self.width / unit) * unit, math.ceil(self.height / unit) * unit)

    def share(self, share: Fraction) -> Size:
        """The size a network runs at that draws each side at a share of this one: that, rounded up by `run`."""
        return Size(math.ceil(self.width * share), math.ceil(self.height * share)).run()

    def middle(self, aspect: float) -> Box:
        """The largest centred part of this aspect, to the nearest pixel: what is delivered of a picture."""
        width = min(self.width, round(self.height * aspect))
        height = min(self.height, round(self.width / aspect))
        return Box((self.width - width) // 2, (self.height - height) // 2, width, height)

    def latent_grid(self, frames: int) -> LatentGrid:
        """The latent grid of `frames` latent frames of this size, whose sides must be multiples of 32 pixels."""
        return LatentGrid(frames, self.height // SPATIAL_STRIDE, self.width // SPATIAL_STRIDE)


def _sizes(*texts: str) -> tuple[Size, ...]:
    return tuple(Size(*map(int, text.split("x"))) for text in texts)


# Output pixels, one row a ratio, one column a tier (256P, 480P, 720P, 1080P).
PIXELS: dict[Ratio, tuple[Size, ...]] = {
    Ratio.R16_9: _sizes("448x256", "832x480", "1280x720", "1920x1080"),
    Ratio.R9_16: _sizes("256x448", "480x832", "720x1280", "1080x1920"),
    Ratio.R1_1: _sizes("320x320", "624x624", "960x960", "1440x1440"),
    Ratio.R4_3: _sizes("384x288", "720x544", "1104x832", "1648x1248"),
    Ratio.R3_4: _sizes("288x384", "544x720", "832x1104", "1248x1648"),
    Ratio.R4_5: _sizes("288x352", "560x704", "848x1056", "1280x1600"),
    Ratio.R5_4: _sizes("352x288", "704x560", "1056x848", "1600x1280"),
    Ratio.R21_9: _sizes("512x224", "960x416", "1456x624", "2192x944"),
    Ratio.R9_21: _sizes("224x512", "416x960", "624x1456", "944x2192"),
}


@dataclass(frozen=True, slots=True)
class LatentGrid:
    """A video latent's shape: `frames` x `height` x `width` latent pixels (channels are the codec's)."""

    frames: int
    height: int
    width: int

    @property
    def rows(self) -> int:
        """Token rows per latent frame."""
        return self.height // PATCH

    @property
    def columns(self) -> int:
        """Token columns per latent frame."""
        return self.width // PATCH

    @property
    def tokens_per_frame(self) -> int:
        return self.rows * self.columns

    @property
    def num_tokens(self) -> int:
        return self.frames * self.tokens_per_frame

    @property
    def decoded_frames(self) -> int:
        """Video frames the codec returns for this grid: 4 (T - 1) + 1."""
        return TEMPORAL_STRIDE * (self.frames - 1) + 1


@dataclass(frozen=True, slots=True)
class ClipGeometry:
    """All sizes of one clip.

    `duration` is in whole seconds. T = ceil((25 s - 1) / 4) + 1 latent frames, so that a client who asks for s seconds
    gets 25 s frames after trimming; A = 4 (T - 1) + 1 audio latents.

    `reference_exact` takes the published implementation's lengths instead, for parity: F = 25 s + 1,
    T = (F - 1) // 4 + 1, A = F, and all decoded frames are delivered: up to 0.08 s less than asked for (3 s: 73).
    """

    resolution: Resolution
    ratio: Ratio
    duration: int
    reference_exact: bool = False

    @property
    def output(self) -> Size:
        """Pixels of the delivered clip."""
        return PIXELS[self.ratio][list(Resolution).index(self.resolution)]

    @property
    def base(self) -> Size:
        """The 256P size of the same ratio."""
        return PIXELS[self.ratio][0]

    def native(self, share: Fraction) -> Size:
        """Pixels of the base stage of a network whose native size is this share of the 256P size; 1: all of it."""
        return self.base.share(share)

    def native_grid(self, share: Fraction) -> LatentGrid:
        """Latent grid of that base stage."""
        return self.native(share).latent_grid(self.latent_frames)

    @property
    def num_frames(self) -> int:
        """Frames delivered: exactly 25 per second (`reference_exact`: all that are decoded)."""
        if self.reference_exact:
            return TEMPORAL_STRIDE * (self.latent_frames - 1) + 1
        return FRAMES_PER_SECOND * self.duration

    @property
    def latent_frames(self) -> int:
        frames = FRAMES_PER_SECOND * self.duration
        if self.reference_exact:
            return frames // TEMPORAL_STRIDE + 1
        return math.ceil((frames - 1) / TEMPORAL_STRIDE) + 1

    @property
    def audio_latents(self) -> int:
        if self.reference_exact:
            return FRAMES_PER_SECOND * self.duration + 1
        return TEMPORAL_STRIDE * (self.latent_frames - 1) + 1

    @property
    def run_grid(self) -> LatentGrid:
        """Latent grid of the delivered tier (of its run size, a multiple of 32 pixels)."""
        return self.output.run().latent_grid(self.latent_frames)


def frames_at_24(num_frames: int) -> tuple[int, ...]:
    """Which of a clip's frames, 25 a second, make the same clip at 24 frames a second.

    The network makes 25 frames a second and sound in step with them. At 24, each moment shows the frame nearest to it:
    frame k is shown at k / 24 s and was made for a time at most half a frame (20 ms) away. So one frame of every second
    is left out, the one in its middle, and the sound is untouched: it stays in step and in pitch, which slowing both by
    4 % would not keep (model specification 7). A clip of no whole seconds ends within half a frame of its sound.
    """
    shown = round(num_frames * 24 / FRAMES_PER_SECOND)
    return tuple((2 * FRAMES_PER_SECOND * k + 24) // 48 for k in range(shown))


def edited_length(seconds: float) -> tuple[int, float]:
    """Whole seconds of the clip that holds an edited video of this length, and the seconds delivered: the first 15.

    Lengths are rounded to milliseconds: 3 seconds may come as 3.0000001 when they are the difference of two times.
    """
    delivered = min(round(seconds * 1000) / 1000, float(MAX_DURATION))
    return max(MIN_DURATION, math.ceil(delivered)), delivered


def nearest_ratio(size: Size) -> Ratio:
    """The ratio of the menu closest to a picture's own, on a logarithmic scale (so 2:1 and 1:2 are alike)."""
    return min(Ratio, key=lambda ratio: abs(math.log(size.aspect / PIXELS[ratio][3].aspect)))
