"""Inside the reader process: opens media files by name of their format, and finds what is in them.

The format is forced and the bytes come from an open file, so a file cannot pose as a playlist that names addresses or
other files, and only the decoders named here are ever started.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from hhray.errors import MediaError

MAX_PIXELS = 4096 * 4096
MIN_PIXELS = 16
VIDEO_DECODERS = frozenset({"h264", "hevc", "vp9", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "prores"})
PCM_KINDS = ("u8", "s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f64le", "alaw", "mulaw")
PACKED_SOUND = frozenset({"aac", "mp3", "mp3float", "alac", "flac", "vorbis", "libvorbis", "opus", "libopus", "ac3"})
SOUND_DECODERS = PACKED_SOUND | {f"pcm_{kind}" for kind in PCM_KINDS}
# No protocol has that name: whatever a file refers to, nothing but the open file itself is ever read.
OPTIONS = {"codec_whitelist": ",".join(sorted(VIDEO_DECODERS | SOUND_DECODERS)), "protocol_whitelist": "none"}


@contextmanager
def opened(path: Path, format_name: str) -> Iterator[InputContainer]:
    """An open container of this format.

    Raises:
        av.FFmpegError: the file is of another format or damaged.
    """
    with (
        path.open("rb") as file,
        av.open(file, "r", format=format_name, options=OPTIONS, metadata_errors="replace") as container,
    ):
        yield container


def picture_stream(container: InputContainer) -> VideoStream:
    """The first moving picture; cover art is none.

    Raises:
        MediaError: there is none, its codec is not allowed, or its pictures are too large.
    """
    moving = [one for one in container.streams.video if not one.disposition & one.disposition.attached_pic]
    if not moving:
        raise MediaError("UnsupportedFileFormat", "the video has no picture; send an MP4 or MOV file with a picture")
    stream = moving[0]
    context = stream.codec_context
    if context.codec.name not in VIDEO_DECODERS:
        raise MediaError("UnsupportedFileFormat", "the video's picture codec is not supported; send H.264")
    if not MIN_PIXELS <= context.width * context.height <= MAX_PIXELS:
        raise MediaError("TooLarge", f"the video is {context.width}x{context.height}; send at most 4096x4096 pixels")
    context.options = {"max_pixels": str(MAX_PIXELS)}  # holds for the pictures too, whatever the header says
    context.thread_count = 1
    return stream


def sound_stream(container: InputContainer) -> AudioStream | None:
    """The first sound track that can be decoded; None where there is none."""
    for stream in container.streams.audio:
        name = stream.codec_context.codec.name
        if name in SOUND_DECODERS:
            return stream
    return None


def shown_size(frame: VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of a frame as it is meant to be seen: square pixels, upright."""
    width = round(frame.width * (pixel_aspect or 1)) or frame.width
    return (frame.height, width) if quarter_turns(frame) % 2 else (width, frame.height)


def quarter_turns(frame: VideoFrame) -> int:
    """Quarter turns to the left that make the frame upright."""
    return round(frame.rotation / 90) % 4
