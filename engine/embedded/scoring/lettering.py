"""Fonts for captions: one that has all the letters of a text, where this machine has one."""

from __future__ import annotations

from functools import cache

from PIL import ImageFont

# File names that Pillow looks for where the system keeps fonts; those with Chinese first.
FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "malgun.ttf",
    "DejaVuSans.ttf",
    "Arial.ttf",
)
NO_LETTER = "\U000fffff"  # of the private use area: drawn as what a font draws for letters it lacks

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def lettered(text: str, meant: str, size: int, names: tuple[str, ...] = FONTS) -> tuple[str, Font]:
    """What to write and the font to write it in.

    Where no font has the letters of `text`, what it means is written instead, in square brackets; if that is not told,
    the letters that are lacking as `\\uXXXX`.
    """
    there: list[Font] = [found for name in names if (found := _font(name, size))]
    fonts = there or [ImageFont.load_default(size)]
    for font in fonts:
        if not lacking(text, font):
            return text, font
    if meant:
        return f"[{meant}]", fonts[-1]
    missing = lacking(text, fonts[-1])
    return "".join(_escaped(letter) if letter in missing else letter for letter in text), fonts[-1]


def lacking(text: str, font: Font) -> set[str]:
    """Letters of `text` that the font does not have."""
    empty = _drawn(font, NO_LETTER)
    return {letter for letter in set(text) if not letter.isspace() and _drawn(font, letter) == empty}


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _drawn(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@cache
def _font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None
