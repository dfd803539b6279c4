"""Opens a picture of one of three formats: format and pixel count are checked in its header, before decoding."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps

from hhray.errors import MediaError

FORMATS = ("JPEG", "PNG", "WEBP")


@contextmanager
def opened_picture(
    path: str | Path, max_pixels: int, before_decoding: Callable[[BinaryIO], None] | None = None
) -> Iterator[Image.Image]:
    """The decoded picture, turned upright. `before_decoding` may look at the file once its header has passed.

    Raises:
        MediaError: UnsupportedFileFormat (no JPEG, PNG or WEBP, or damaged) or TooLarge.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=FORMATS) as image:
                _check_size(image, max_pixels)
                if before_decoding is not None:
                    with Path(path).open("rb") as file:
                        before_decoding(file)
                image.load()
                upright = ImageOps.exif_transpose(image)
        except MediaError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large(max_pixels) from error
        except Exception as error:  # Pillow's parsers raise errors of a dozen kinds on damaged files
            raise MediaError(
                "UnsupportedFileFormat",
                f"the picture cannot be read; send an undamaged {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file",
            ) from error
    with upright:
        yield upright


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise _too_large(max_pixels, f"{width}x{height} ")


def _too_large(max_pixels: int, what: str = "") -> MediaError:
    return MediaError("TooLarge", f"the picture has too many {what}pixels; send one of at most {max_pixels:,} pixels")
