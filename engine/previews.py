"""Small pictures of a clip of ours: one frame, and a sheet of frames at equal distances, decoded from its MP4."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from PIL import Image

THUMBNAIL_PIXELS = 512  # of the longer side
SHEET_COLUMNS, SHEET_ROWS, SHEET_PIXELS = 5, 4, 256  # of the longer side of a cell
QUALITY = 85


def thumbnail(path: Path) -> bytes:
    """A WebP picture of the frame a third into the clip.

    Raises:
        OSError: the file cannot be read as a video.
    """
    (picture,) = _frames(path, 1, THUMBNAIL_PIXELS)
    return _encoded(picture, "WEBP")


def spritesheet(path: Path) -> bytes:
    """A JPEG picture of 5 x 4 frames, left to right, then down, at equal distances over the whole clip.

    Raises:
        OSError: the file cannot be read as a video.
    """
    cells = list(_frames(path, SHEET_COLUMNS * SHEET_ROWS, SHEET_PIXELS))
    width, height = cells[0].size
    sheet = Image.new("RGB", (SHEET_COLUMNS * width, SHEET_ROWS * height))
    for at, cell in enumerate(cells):
        sheet.paste(cell, (at % SHEET_COLUMNS * width, at // SHEET_COLUMNS * height))
    return _encoded(sheet, "JPEG")


def _frames(path: Path, count: int, longest: int) -> Iterator[Image.Image]:
    """`count` pictures of the clip, its frames at equal distances (of one: a third in), the longer side `longest`."""
    with _as_os_error(path), av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 2
        total = max(stream.frames, 1)
        wanted = [total // 3] if count == 1 else [at * total // count for at in range(count)]
        share = longest / max(stream.width, stream.height)
        size = max(2, round(stream.width * share)), max(2, round(stream.height * share))
        left, picture = wanted, None
        for index, frame in enumerate(container.decode(stream)):
            while left and left[0] == index:
                picture = Image.fromarray(frame.reformat(*size, format="rgb24").to_ndarray())
                left = left[1:]
                yield picture
            if not left:
                return
        for _ in left:  # the header promised more frames than there are
            if picture is None:
                raise OSError(f"{path.name} has no frame")
            yield picture


@contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """The video library's own errors are of many kinds; all say that this is no video it can read."""
    try:
        yield
    except (av.FFmpegError, IndexError) as error:
        raise OSError(f"{path.name} is no video that can be read: {error}") from error


def _encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=QUALITY)
    return buffer.getvalue()
