"""A text as numbers: how much of each pixel of a small box is replaced, and by how much light.

White letters with a dark edge, so that they can be read on light and on dark pictures; both let some of the picture
through. Everything is computed once per text and size of picture; a frame costs two multiplications per pixel of the
box, in whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont

from engine.marking.fonts import open_font
from hhray.errors import ConfigError
from hhray.geometry import Size

# Of luma in limited range (ITU-R BT.709), as engine.pixels makes it; a chroma sample of 128 has no colour.
WHITE, BLACK, NO_COLOUR = 235.0, 16.0, 128.0
LETTER_OPACITY, EDGE_OPACITY = 0.9, 0.7
EDGE = 0.07  # of the font's em
MARGIN = 0.03  # of the short side
WATERMARK_HEIGHT = 0.032  # of a capital, in short sides
LABEL_HEIGHT = 0.056  # GB 45438-2025 asks for 0.05
LEAST_HEIGHT = 8  # pixels: smaller capitals cannot be read
WIDEST = 0.94  # of a picture's width

Corner = Literal["bottom right", "top left"]
Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """new = (kept * old + added) / 256 in whole numbers, for the pixels [top : top + h, left : left + w] of a plane.

    Both are uint16 [h, w]; no sum exceeds 65,535.
    """

    top: int
    left: int
    kept: NDArray[np.uint16]
    added: NDArray[np.uint16]

    def put_on(self, plane: Plane) -> None:
        """Change the pixels of a plane, uint8 [H, W], in place."""
        height, width = self.kept.shape
        part = plane[self.top : self.top + height, self.left : self.left + width]
        part[:] = (part * self.kept + self.added) >> 8


@dataclass(frozen=True, slots=True, eq=False)
class Stamp:
    """A text at its place in yuv420p pictures of one size; `height` is that of its capitals, in pixels."""

    luma: Layer
    chroma: Layer
    height: int

    def put_on(self, planes: tuple[Plane, Plane, Plane]) -> None:
        """Draw it on the planes Y [H, W], U and V [H / 2, W / 2] of a picture, in place."""
        self.luma.put_on(planes[0])
        self.chroma.put_on(planes[1])
        self.chroma.put_on(planes[2])


@lru_cache(maxsize=64)
def stamp(text: str, size: Size, corner: Corner, font: str) -> Stamp:
    """The watermark (bottom right) or the label (top left) of pictures of that size, in the font of that file.

    A watermark too wide for the picture is made smaller; a label may not be.

    Raises:
        ConfigError: there is no such font, or the label is wider than the picture.
    """
    short = min(size.width, size.height)
    is_label = corner == "top left"
    height = max(LEAST_HEIGHT, _up((LABEL_HEIGHT if is_label else WATERMARK_HEIGHT) * short))
    widest = round(WIDEST * size.width)
    letters = _font_of_height(font, height)
    if (width := _width(letters, text)) > widest:
        if is_label:
            raise ConfigError(f"the label {text!r} is {width} pixels wide, a picture of {size} has room for {widest}")
        height = max(1, int(height * widest / width))
        letters = _font_of_height(font, height)
    opacity, light = _drawn(text, letters)
    margin = _up(MARGIN * short)
    rows, columns = opacity.shape
    top = margin if is_label else size.height - margin - rows
    left = margin if is_label else size.width - margin - columns
    return _stamp(opacity, light, max(0, top) // 2 * 2, max(0, left) // 2 * 2, height)


def _stamp(opacity: NDArray[np.float64], light: NDArray[np.float64], top: int, left: int, height: int) -> Stamp:
    rows, columns = opacity.shape
    coloured = opacity.reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
    return Stamp(_layer(opacity, light, top, left), _layer(coloured, NO_COLOUR * coloured, top // 2, left // 2), height)


def _layer(opacity: NDArray[np.float64], light: NDArray[np.float64], top: int, left: int) -> Layer:
    """`light` is what is added, in levels: opacity times the level of what is drawn."""
    kept = np.round(256 * (1 - opacity)).astype(np.uint16)
    added = np.minimum(np.round(256 * light) + 128, 65_535 - 255 * kept.astype(np.float64))
    return Layer(top, left, kept, added.astype(np.uint16))


def _drawn(text: str, font: FreeTypeFont) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Opacity [h, w] of 0 to 1, and opacity times level; both sides even."""
    edge = _edge(font)
    left, top, right, bottom = (round(side) for side in font.getbbox(text, stroke_width=edge))
    extent = ((right - left + 1) // 2 * 2, (bottom - top + 1) // 2 * 2)
    letters = _coverage(text, font, extent, (-left, -top), 0) * LETTER_OPACITY
    edges = _coverage(text, font, extent, (-left, -top), edge) * EDGE_OPACITY
    seen = edges * (1 - letters)  # the letters lie on their edge
    return letters + seen, WHITE * letters + BLACK * seen


def _coverage(
    text: str, font: FreeTypeFont, extent: tuple[int, int], origin: tuple[int, int], edge: int
) -> NDArray[np.float64]:
    image = Image.new("L", extent)
    ImageDraw.Draw(image).text(origin, text, fill=255, font=font, stroke_width=edge)
    return np.asarray(image, np.float64) / 255


def _font_of_height(path: str, height: int) -> FreeTypeFont:
    """The font at the smallest whole size whose capitals are at least `height` pixels high."""
    pixels = height
    while (font := open_font(path, pixels)) and _capital(font) < height:
        pixels += max(1, (height - _capital(font)) // 2)
    return font


def _capital(font: FreeTypeFont) -> int:
    _, top, _, bottom = font.getbbox("A")
    return round(bottom - top)


def _width(font: FreeTypeFont, text: str) -> int:
    left, _, right, _ = font.getbbox(text, stroke_width=_edge(font))
    return round(right - left)


def _edge(font: FreeTypeFont) -> int:
    return max(1, round(EDGE * font.size))


def _up(pixels: float) -> int:
    return int(-(-pixels // 1))
