"""What the two networks of the video codec are to make small."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from engine.embedded.codecs.drawing import Drawer, TextureNetwork
from engine.embedded.codecs.fields import LEVELS, PRESENCE, TEXTURES
from engine.embedded.codecs.reading import Reader
from engine.embedded.training.video_points import draw_points
from engine.embedded.training.video_views import draw_views
from engine.embedded.world.palette import BACKGROUNDS, background
from hhray.geometry import Size

POINTS, VIEWS = 4096, 8  # to a batch
SHARP = 0.2  # latent units: errors above this count as they are, smaller ones by their square
THING_WEIGHT = 3.0  # cells of a thing count this many times more than the others
TEXTURE_WEIGHT = 30.0
TEXTURE_SIZE = Size(160, 96)


def drawing_loss(drawer: Drawer, rng: Generator, points: int = POINTS) -> Tensor:
    """How far the coverages of points are from the true ones, and the textures from the backgrounds."""
    batch = draw_points(rng, points)
    logits = drawer.shape(batch.place, batch.radius, batch.shape, batch.mouth)
    return F.binary_cross_entropy_with_logits(logits, batch.shares) + TEXTURE_WEIGHT * _texture_loss(drawer.texture)


def reading_loss(reader: Reader, rng: Generator, views: int = VIEWS) -> Tensor:
    """How far the fields of views are from the true ones."""
    batch = draw_views(rng, views)
    with torch.autocast("cpu", torch.bfloat16):
        said = reader(batch.frames)
    wrong = F.smooth_l1_loss(said, batch.said, beta=SHARP, reduction="none")
    return (wrong * (1 + THING_WEIGHT * batch.said[:, PRESENCE] / LEVELS["presence"])).mean()


def _texture_loss(network: TextureNetwork) -> Tensor:
    return F.mse_loss(network(TEXTURE_SIZE.height, TEXTURE_SIZE.width), _textures())


@cache
def _textures() -> Tensor:
    """What textures add to the mean of their tones: float32 [2, 3, H, W]."""
    wanted = []
    for name in TEXTURES:
        tones = np.array(BACKGROUNDS[name], dtype=np.float32)
        wanted.append((background(name, TEXTURE_SIZE) - tones.mean(axis=0)) / 127.5)
    return torch.from_numpy(np.stack(wanted)).permute(0, 3, 1, 2)
