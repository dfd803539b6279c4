"""A picture to judge the video codec by: true frames beside those after the fields, and after the reader too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.embedded.codecs.fields import fields
from engine.embedded.codecs.video import SpriteVideoCodec
from engine.embedded.world.canvas import NATIVE
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample

ROWS, LATENTS = 12, 6
SHOWN = (0, 11, 20)  # frames
NOISE = 0.25  # in latent units, added in the lower half of the sheet


def save_sheet(codec: SpriteVideoCodec, path: Path, seed: int) -> None:
    """Write a PNG: one scene a row, and in each three frames as they are, as drawn, and as read and drawn."""
    noise = torch.Generator().manual_seed(seed)
    rows = []
    for row in range(ROWS):
        scene = sample(np.random.default_rng([seed, row]), unseen=True)
        frames = render(scene, 4 * (LATENTS - 1) + 1)
        latents = [torch.from_numpy(fields(scene, LATENTS, NATIVE)), codec.encode_video(_pixels(frames))]
        strength = NOISE if row >= ROWS // 2 else 0.0
        drawn = [codec.decode(one + strength * torch.randn(one.shape, generator=noise)).numpy() for one in latents]
        rows.append(np.concatenate([part[frame] for part in (frames, *drawn) for frame in SHOWN], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)


def _pixels(frames: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1
