"""Which shape a thing has: its mask, brought to one place and size, is laid over those of the eight shapes."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.embedded.world.shapes import OUTLINES, coverage

CELLS = 28  # a side of the common picture
REACH = 2.2  # common pictures show this many square roots of the area
MOST_FRAMES = 16  # the largest are looked at
TEMPLATE_RADIUS = 40.0


def shape_of(mask: NDArray[np.bool_]) -> str:
    """The shape of a mask bool [F, H, W], "" where there is nothing; frames in which it is whole count first."""
    areas = mask.sum(axis=(1, 2))
    whole = ~(mask[:, 0].any(1) | mask[:, -1].any(1) | mask[:, :, 0].any(1) | mask[:, :, -1].any(1))
    order = np.argsort(np.where(whole, areas, areas / mask[0].size))[::-1][:MOST_FRAMES]
    shown = [place for place in order if areas[place] > 0]
    if not shown:
        return ""
    seen = np.mean([common_picture(mask[place].astype(np.float32)) for place in shown], axis=0)
    misses = {name: float(np.square(seen - template).sum()) for name, template in _templates().items()}
    return min(misses, key=lambda name: misses[name])


def common_picture(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """[H, W] of 0 to 1, moved to the middle and enlarged to one area: [28, 28]."""
    area = picture.sum()
    rows, columns = np.indices(picture.shape)
    middle = (rows * picture).sum() / area, (columns * picture).sum() / area
    offsets = ((np.arange(CELLS) + 0.5) / CELLS - 0.5) * REACH * np.sqrt(area)
    return _between_pixels(picture, middle[0] + offsets, middle[1] + offsets)


def _between_pixels(
    picture: NDArray[np.float32], rows: NDArray[np.generic], columns: NDArray[np.generic]
) -> NDArray[np.float32]:
    """The picture at the crossings of `rows` and `columns`, linear between pixels, empty outside."""
    framed = np.pad(picture, 1)
    at = [np.clip(places + 1, 0, side - 1.001) for places, side in zip((rows, columns), framed.shape, strict=True)]
    (top, left), (down, right) = [a.astype(int) for a in at], [a % 1 for a in at]
    upper = framed[top][:, left] * (1 - right) + framed[top][:, left + 1] * right
    lower = framed[top + 1][:, left] * (1 - right) + framed[top + 1][:, left + 1] * right
    return np.asarray(upper * (1 - down[:, None]) + lower * down[:, None], dtype=np.float32)


@cache
def _templates() -> dict[str, NDArray[np.float32]]:
    side = np.arange(-1.2 * TEMPLATE_RADIUS, 1.2 * TEMPLATE_RADIUS).astype(np.float32) + np.float32(0.5)
    return {name: common_picture(coverage(name, side[None], side[:, None], TEMPLATE_RADIUS)) for name in OUTLINES}
