"""Conditioning pictures: hostile files in, arrays of the model's size out. Imports no torch: the intake uses it too.

Format and pixel count are checked in the file's header, before anything is decoded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.picture_file import opened_picture
from hhray.geometry import Box, Size


def probe_picture(path: str | Path, max_pixels: int) -> Size:
    """Size of a picture as it is meant to be seen, after decoding it once, so that a damaged file is found here.

    Raises:
        MediaError: UnsupportedFileFormat (no JPEG, PNG or WEBP, or damaged) or TooLarge.
    """
    with opened_picture(path, max_pixels) as image:
        return Size(*image.size)


def load_picture(path: str | Path, size: Size, max_pixels: int, aspect: float | None = None) -> NDArray[np.float32]:
    """The picture, cropped about its centre to `aspect` (None: that of `size`) and resized to the part of that aspect
    in the middle of `size`, edge pixels repeated around it: float32 [3, H, W] in [-1, 1].

    Raises:
        MediaError: as in `probe_picture`.
    """
    aspect = aspect or size.aspect
    part = size.middle(aspect)
    with opened_picture(path, max_pixels) as image:
        width, height = min(image.width, image.height * aspect), min(image.height, image.width / aspect)
        left, top = (image.width - width) / 2, (image.height - height) / 2
        box = (left, top, left + width, top + height)
        fitted = image.convert("RGB").resize((part.width, part.height), Image.Resampling.LANCZOS, box)
        pixels = framed(np.asarray(fitted), part, size).astype(np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) / np.float32(127.5) - 1)


def framed(pixels: NDArray[np.uint8], part: Box, size: Size) -> NDArray[np.uint8]:
    """Pixels [h, w, 3] at their part of a picture of `size`, [H, W, 3], with their edges repeated around them."""
    below, right = size.height - part.top - part.height, size.width - part.left - part.width
    return np.pad(pixels, ((part.top, below), (part.left, right), (0, 0)), mode="edge")
