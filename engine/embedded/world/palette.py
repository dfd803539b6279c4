"""Colours of things, far apart in hue, and backgrounds, which have next to no hue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hhray.geometry import Size

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 25, 30),
    "orange": (250, 130, 10),
    "yellow": (245, 225, 20),
    "green": (25, 165, 40),
    "cyan": (15, 200, 215),
    "blue": (30, 70, 230),
    "purple": (130, 30, 205),
    "pink": (250, 70, 190),
}

# Two tones each: plain ones have the same tone twice.
BACKGROUNDS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "white": ((245, 245, 245), (245, 245, 245)),
    "grey": ((150, 150, 150), (150, 150, 150)),
    "dark": ((70, 72, 78), (70, 72, 78)),
    "black": ((12, 12, 12), (12, 12, 12)),
    "cream": ((244, 238, 220), (244, 238, 220)),
    "pale blue": ((214, 226, 240), (214, 226, 240)),
    "striped": ((238, 238, 238), (205, 205, 205)),
    "chequered": ((230, 230, 230), (196, 196, 196)),
}
CELLS = 4  # stripes and chequers to a picture's height


def background(name: str, size: Size) -> NDArray[np.float32]:
    """The empty picture, float32 [H, W, 3] of 0 to 255."""
    rows, columns = (np.arange(side) * CELLS // size.height for side in (size.height, size.width))
    if name == "chequered":
        second = (rows[:, None] + columns) % 2
    else:
        second = np.broadcast_to(columns % 2 if name == "striped" else 0, (size.height, size.width))
    picture: NDArray[np.float32] = np.array(BACKGROUNDS[name], dtype=np.float32)[second]
    return picture
