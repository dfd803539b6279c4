"""A client's files made harmless: looked through and written anew without metadata, by a confined process.

What is kept of a picture are its pixels, upright, as a PNG. Of a video it is the file itself, with every box of
metadata emptied and every reference to other files refused. Imports neither torch nor a decoder.
"""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import IO

from engine.mp4_boxes import VideoCaps
from engine.source_process import PICTURE_READER, Limits, ask
from engine.source_video import VIDEO_KINDS, VideoFacts, video_facts
from hhray.errors import MediaError
from hhray.geometry import Size

PICTURE_KINDS = "JPEG, PNG or WEBP file"
_HEADROOM_BYTES = 1 << 20
_MOST_BYTES_A_PIXEL = 4  # a PNG of noise is a little larger than its three bytes a pixel


def clean_picture(path: Path, output: IO[bytes], *, max_pixels: int, memory_bytes: int, seconds: float) -> Size:
    """Write a picture anew to `output`, an open file; returns its size as it is meant to be seen.

    Args:
        max_pixels: checked in the header, before anything is decoded.
        memory_bytes, seconds: address space, and computing time, that the process may have.

    Raises:
        MediaError: UnsupportedFileFormat (none of three formats by its content, or damaged) or TooLarge.
        OSError: no room for the output.
    """
    order = {"task": "clean", "path": str(path.absolute()), "kinds": PICTURE_KINDS, "max_pixels": max_pixels}
    limits = Limits(memory_bytes, seconds, max_pixels * _MOST_BYTES_A_PIXEL + _HEADROOM_BYTES)
    answer = ask("the picture", order, limits, output, PICTURE_READER)
    width, height = answer.get("width"), answer.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or not 0 < width * height <= max_pixels:
        raise MediaError("UnsupportedFileFormat", f"the picture cannot be read; send an undamaged {PICTURE_KINDS}")
    return Size(width, height)


def clean_video(path: Path, output: IO[bytes], caps: VideoCaps, *, memory_bytes: int, seconds: float) -> VideoFacts:
    """Copy a video without its metadata to `output`, an open file; returns facts of the copy, whose first frames were
    decoded.

    Args:
        caps: checked in the headers, before any library of codecs sees the file.
        memory_bytes, seconds: as for a picture.

    Raises:
        MediaError, OSError: as for a picture.
    """
    order = {"task": "clean", "path": str(path.absolute()), "kinds": VIDEO_KINDS, "caps": list(astuple(caps))}
    limits = Limits(memory_bytes, seconds, path.stat().st_size + _HEADROOM_BYTES)
    return video_facts(ask("the video", order, limits, output))
