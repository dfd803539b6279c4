"""Inside the reader process: what a source video is, from the whole of its index and its first frames, decoded."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.video.stream import VideoStream

from engine.source_container import opened, picture_stream, shown_size, sound_stream
from hhray.errors import MediaError

FRAMES_TRIED = 12
MOST_FRAMES = 1_000_000
MISSING_SECONDS = 0.5  # of picture that the header promises and the file does not hold: it was cut off


def facts(path: Path, max_frames: int = MOST_FRAMES) -> dict[str, Any]:
    """Width, height, seconds, frames_per_second and has_sound of an MP4 or MOV file.

    Raises:
        MediaError: there is no picture, or less of it than the file says.
        av.FFmpegError: the file is damaged.
    """
    with opened(path, "mp4") as container:
        stream = picture_stream(container)
        found: dict[str, Any] = {"has_sound": sound_stream(container) is not None}
        found["width"], found["height"], first_decoded = _first_frames(container, stream)
    with opened(path, "mp4") as container:
        stream = picture_stream(container)
        frames, began, ended = _index(container, stream, max_frames)
        promised = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    seconds = ended - max(began, first_decoded)
    if seconds <= 0 or promised - (ended - began) > MISSING_SECONDS:
        raise MediaError("UnsupportedFileFormat", "the video ends before it should; send an undamaged file")
    return found | {"seconds": seconds, "frames_per_second": frames / (ended - began)}


def _first_frames(container: InputContainer, stream: VideoStream) -> tuple[int, int, float]:
    """Width, height and time of the first frame, after a number of them were decoded without an error."""
    seen: tuple[int, int, float] | None = None
    for frame in islice(container.decode(stream), FRAMES_TRIED):
        if frame.is_corrupt:
            seen = None
            break
        seen = seen or (*shown_size(frame, stream.sample_aspect_ratio), float(frame.time or 0))
    if seen is None:
        raise MediaError("UnsupportedFileFormat", "the video's pictures are damaged; send an undamaged file")
    return seen


def _index(container: InputContainer, stream: VideoStream, max_frames: int) -> tuple[int, float, float]:
    """Number of pictures, and the times in seconds at which the first begins and the last ends."""
    times: list[int] = []
    ended = 0
    for packet in container.demux(stream):
        if packet.size and packet.pts is not None and not packet.is_discard:
            times.append(packet.pts)
            ended = max(ended, packet.pts + (packet.duration or 0))
            if len(times) > max_frames:
                raise MediaError("TooLarge", f"the video has more than {max_frames} pictures; send a shorter one")
    if not times or stream.time_base is None:
        raise MediaError("UnsupportedFileFormat", "the video has no pictures; send an undamaged file")
    return len(times), float(min(times) * stream.time_base), float(ended * stream.time_base)
