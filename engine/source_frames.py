"""Inside the reader process: a video's frames, at 25 a second and of the wanted size, written raw one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from engine.picture import framed
from engine.source_container import opened, picture_stream, quarter_turns, shown_size
from hhray.errors import MediaError
from hhray.geometry import FRAMES_PER_SECOND, Size

TIME_TOLERANCE = Fraction(1, 10_000)  # seconds: time bases that cannot say k / 25 exactly round to one that is near
HD_HEIGHT = 720  # from here on, colours that are not declared are those of ITU 709
BT601, BT709, BT2020 = (5, 6), 1, (9, 10)

_Frame = TypeVar("_Frame")


def write_frames(path: Path, output: Path, size: Size, aspect: float, num_frames: int) -> float:
    """Write `num_frames` frames of a video as uint8 RGB [F, H, W, 3] of `size`, each as `fitted` makes it.

    Returns:
        The time of its first frame, in seconds of the file's clock.

    Raises:
        MediaError: no frame can be decoded.
    """
    with opened(path, "mp4") as container, output.open("wb") as file:
        stream = picture_stream(container)
        began: Fraction | None = None
        for (time, frame), count in shown_frames(timed_frames(container, stream), num_frames):
            began = time if began is None else began
            pixels = fitted(frame, stream.sample_aspect_ratio, size, aspect).tobytes()
            for _ in range(count):
                file.write(pixels)
    if began is None:
        raise MediaError("UnsupportedFileFormat", "the video's pictures are damaged; send an undamaged file")
    return float(began)


def shown_frames(
    timed: Iterable[tuple[Fraction, _Frame]], num_frames: int
) -> Iterator[tuple[tuple[Fraction, _Frame], int]]:
    """Those of `timed` (seconds, frame) that 25 frames a second show, and how many times, `num_frames` in all.

    Frame k shows what the source shows at k / 25 s after its first frame; after the source's end, its last frame.
    """
    held: tuple[Fraction, _Frame] | None = None
    began, written = Fraction(0), 0
    for time, frame in timed:
        if held is None:
            began = time
        else:
            due = min(num_frames, ceil((time - began - TIME_TOLERANCE) * FRAMES_PER_SECOND))
            if due > written:
                yield held, due - written
                written = due
            if written == num_frames:
                return
        held = time, frame
    if held is not None and written < num_frames:
        yield held, num_frames - written


def timed_frames(container: InputContainer, stream: VideoStream) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Frames with their times in seconds, which never go back. Damaged packets are left out."""
    usual = 1 / Fraction(stream.average_rate or FRAMES_PER_SECOND)
    last: Fraction | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        for frame in frames:
            if not isinstance(frame, VideoFrame):
                continue
            expected = Fraction(0) if last is None else last + usual
            time = expected if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            last = time if last is None else max(time, last)
            yield last, frame


def fitted(frame: VideoFrame, pixel_aspect: Fraction | None, size: Size, aspect: float) -> NDArray[np.uint8]:
    """The frame upright and cropped about its centre to `aspect`, at the part of that aspect in the middle of `size`,
    its edge pixels repeated around it: uint8 RGB [H, W, 3]."""
    width, height = shown_size(frame, pixel_aspect)
    pixels = np.ascontiguousarray(np.rot90(_rgb(frame), quarter_turns(frame)))
    rows, columns, _ = pixels.shape
    kept_columns = columns * min(1.0, height * aspect / width)
    kept_rows = rows * min(1.0, width / aspect / height)
    left, top = (columns - kept_columns) / 2, (rows - kept_rows) / 2
    box = (left, top, left + kept_columns, top + kept_rows)
    part = size.middle(aspect)
    shown = Image.fromarray(pixels).resize((part.width, part.height), Image.Resampling.LANCZOS, box)
    return framed(np.asarray(shown), part, size)


def _rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    converted = frame.reformat(
        format="rgb24", src_colorspace=_colours(frame), dst_color_range=ColorRange.JPEG
    ).to_ndarray()
    return np.asarray(converted, dtype=np.uint8)


def _colours(frame: VideoFrame) -> Colorspace:
    declared = frame.colorspace
    if declared in BT2020:
        return Colorspace.BT2020
    if declared == BT709 or (declared not in BT601 and frame.height >= HD_HEIGHT):
        return Colorspace.ITU709
    return Colorspace.ITU601
