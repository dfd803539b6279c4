"""`python -m engine.picture_reader ORDER`: the process that opens a client's picture (see engine.source_process).

It writes the picture anew: upright, RGB, as a PNG without a word about camera, place or maker.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

from engine.media_kind import HEAD_BYTES, PICTURES, check_picture_kind, kind_of
from engine.picture_file import opened_picture
from engine.png_stream import check_png_data
from engine.reader_answer import Order, carry_out

QUICK = 1  # zlib's level: pixels are kept exactly at any


def write_clean(path: Path, target: BinaryIO, max_pixels: int) -> tuple[int, int]:
    """Write the picture's pixels to `target`; returns its width and height.

    Raises:
        MediaError: UnsupportedFileFormat or TooLarge.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    check_picture_kind(head)
    with opened_picture(
        path, max_pixels, before_decoding=None if kind_of(head) != PICTURES[1] else check_png_data
    ) as image:
        plain, size = image.convert("RGB"), image.size
    plain.info = {}  # profile and notes of the file, which would be written along
    plain.save(target, "PNG", compress_level=QUICK)
    target.flush()
    return size


def _clean(order: Order) -> Order:
    with os.fdopen(order["output"], "wb") as target:
        width, height = write_clean(Path(order["path"]), target, order["max_pixels"])
    return {"width": width, "height": height}


if __name__ == "__main__":
    print(json.dumps(carry_out(sys.argv[1], {"clean": _clean})))
