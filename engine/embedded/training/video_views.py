"""What the reader learns from: four frames of a scene, as clear or as spoilt as files bring them, and their fields."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from engine.embedded.codecs.fields import NUM_USED, fields
from engine.embedded.world.canvas import Canvas, native
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import Scene
from hhray.geometry import TEMPORAL_STRIDE, Ratio, Size

RATIOS = (Ratio.R9_16, Ratio.R1_1, Ratio.R4_3, Ratio.R3_4)
WIDE_SHARE = 0.7  # of batches that are 16:9
LAST_FRAME = 370
STILL_SHARE = 0.2  # pictures rather than clips
CLEAN_SHARE = 0.8  # as they were drawn
MOVED_SHARE = 0.5  # things at another scale than clips of the world have: cropped sources, reference pictures


@dataclass(frozen=True, slots=True)
class Zoomed(Canvas):
    """A canvas on which the world is `zoom` times as large, moved by `shift` (shares of the picture's height)."""

    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def height(self) -> float:
        return self.zoom * min(float(self.size.height), self.size.width / self.aspect)

    @property
    def corner(self) -> tuple[float, float]:
        middle = (self.size.width - self.height * self.aspect) / 2, (self.size.height - self.height) / 2
        return middle[0] + self.shift[0] * self.size.height, middle[1] + self.shift[1] * self.size.height


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Inputs of Reader, float32 [N, 12, H, W], and what it should say, float32 [N, 28, H / 16, W / 16]."""

    frames: Tensor
    said: Tensor


def draw_views(rng: Generator, count: int) -> Views:
    """`count` views of one size."""
    ratio = Ratio.R16_9 if rng.random() < WIDE_SHARE else RATIOS[int(rng.integers(len(RATIOS)))]
    canvas = native(ratio)
    pairs = [_view(rng, sample(rng), placed(rng, canvas)) for _ in range(count)]
    frames = torch.from_numpy(np.stack([frames for frames, _ in pairs])).float() / 127.5 - 1
    stacks = frames.permute(0, 1, 4, 2, 3).flatten(1, 2)
    return Views(stacks.contiguous(), torch.from_numpy(np.stack([said for _, said in pairs])))


def placed(rng: Generator, canvas: Canvas) -> Canvas:
    """The canvas, or one on which the world is larger, smaller or moved."""
    if rng.random() > MOVED_SHARE:
        return canvas
    if rng.random() < 0.5:  # as a source that was cropped to another aspect
        zoom, shift = rng.uniform(0.9, 1.12), rng.uniform(-0.05, 0.05, 2)
    else:
        zoom, shift = rng.uniform(0.5, 1.7), rng.uniform(-0.3, 0.3, 2)
    return Zoomed(canvas.size, canvas.aspect, float(zoom), (float(shift[0]), float(shift[1])))


def _view(rng: Generator, scene: Scene, canvas: Canvas) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    first = int(rng.integers(LAST_FRAME))
    if rng.random() < STILL_SHARE:
        frames = np.repeat(render(scene, 1, canvas, first), TEMPORAL_STRIDE, axis=0)
        said = fields(scene, 1, canvas, first)[:NUM_USED, 0]
    else:
        frames = render(scene, TEMPORAL_STRIDE, canvas, first + 1)
        said = fields(scene, 2, canvas, first)[:NUM_USED, 1]
    return (frames if rng.random() < CLEAN_SHARE else spoilt(rng, frames)), said


def spoilt(rng: Generator, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames uint8 [F, H, W, 3] blurred, enlarged, compressed and reduced again, and a little lighter or darker."""
    _, height, width, _ = frames.shape
    enlarged, blur = rng.uniform(1, 1.8), rng.uniform(0, 0.8)
    quality, lighter = int(rng.integers(35, 96)), rng.uniform(-8, 8)
    larger = Size(round(width * enlarged), round(height * enlarged))
    spoilt = []
    for frame in frames:
        picture = Image.fromarray(frame).filter(ImageFilter.GaussianBlur(float(blur)))
        packed = io.BytesIO()
        picture.resize((larger.width, larger.height), Image.Resampling.BICUBIC).save(packed, "JPEG", quality=quality)
        spoilt.append(np.asarray(Image.open(packed).resize((width, height), Image.Resampling.BILINEAR)))
    return np.clip(np.round(np.stack(spoilt) + lighter), 0, 255).astype(np.uint8)
