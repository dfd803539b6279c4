"""Fonts of watermark and label, and whether they have what a text needs.

Without a file it is the font that ships inside Pillow (Aileron Regular, public domain by CC0), which has Latin letters.
"""

from __future__ import annotations

import unicodedata

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

from hhray.errors import ConfigError

NO_CHARACTER = "\U0010ffff"  # never assigned: what a font draws for it, it draws for whatever it lacks
CHECKED_PIXELS = 64


def open_font(path: str, pixels: float) -> FreeTypeFont:
    """The font of a file, or Pillow's own, `pixels` to the em.

    Raises:
        ConfigError: the file is no font that can be read.
    """
    if not path:
        font = ImageFont.load_default(pixels)
        if not isinstance(font, FreeTypeFont):
            raise ConfigError("this build of Pillow has no FreeType, so that no mark can be drawn; install another")
        return font
    try:
        return ImageFont.truetype(path, pixels)
    except (OSError, ValueError) as error:
        raise ConfigError(f"marking.font: {path!r} cannot be read as a font: {error}") from error


def missing_characters(text: str, path: str) -> str:
    """Those of a text that the font would draw as an empty box or not at all.

    Raises:
        ConfigError: as `open_font`.
    """
    font = open_font(path, CHECKED_PIXELS)
    box = _drawing(font, NO_CHARACTER)
    return "".join(one for one in dict.fromkeys(text) if not one.isspace() and _lacks(font, one, box))


def _lacks(font: FreeTypeFont, character: str, box: tuple[tuple[int, int], bytes]) -> bool:
    drawing = _drawing(font, character)
    is_mark = unicodedata.category(character).startswith("M")  # drawn on another, and perhaps blank alone
    return drawing == box or not (is_mark or any(drawing[1]))


def _drawing(font: FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character, mode="L")
    return mask.size, bytes(mask)
