"""The boxes of an MP4 or MOV file, read without a decoder: what its headers promise, and what is about its maker.

Sizes, lengths and numbers are checked here before FFmpeg sees the file, references to other files are refused, and a
copy without metadata is written: boxes of it keep their place and size but become empty `free` boxes, so that not one
offset changes. Timed metadata (places, exposure) loses its track; the bytes of its samples stay, and nothing names
them. Source: ISO/IEC 14496-12; QuickTime File Format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from hhray.errors import MediaError

MAX_BOXES = 100_000
SLACK_SECONDS = 2.0  # sound may be a little longer than the picture
_WALKED = frozenset({b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl"})
_METADATA = frozenset({b"udta", b"meta", b"uuid", b"emsg"})
_KEPT_TRACKS = frozenset({b"vide", b"soun"})
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class VideoCaps:
    """The most a header may promise: seconds, pictures of one track, tracks, pixels of a picture."""

    seconds: float
    frames: int
    tracks: int
    pixels: int


@dataclass(frozen=True, slots=True)
class Box:
    """A box's kind, where it begins, where its content begins, and where it ends."""

    kind: bytes
    start: int
    content: int
    end: int


@dataclass(slots=True)
class _Found:
    """Boxes to be emptied, ranges to be zeroed, and the track that is being looked at."""

    emptied: list[Box] = field(default_factory=list)
    zeroed: list[tuple[int, int]] = field(default_factory=list)
    tracks: int = 0
    boxes: int = 0
    handler: bytes = b""


def survey(file: BinaryIO, caps: VideoCaps) -> list[tuple[int, bytes]]:
    """Check a file's headers; returns what is to be written where (offset, bytes) in a copy without metadata.

    Raises:
        MediaError: TooLarge: beyond `caps`. UnsupportedFileFormat: it refers to other files, or hides its headers.
    """
    found = _Found()
    _walk(file, 0, file.seek(0, 2), caps, found)
    patches = [(box.start + 4, b"free") for box in found.emptied]
    ranges = found.zeroed + [(box.content, box.end) for box in found.emptied]
    return sorted(patches + [(start, bytes(end - start)) for start, end in ranges if end > start])


def write_patched(file: BinaryIO, target: BinaryIO, patches: list[tuple[int, bytes]]) -> None:
    """Copy `file` with other bytes at some places."""
    file.seek(0)
    while piece := file.read(_PIECE):
        target.write(piece)
    for offset, data in patches:
        target.seek(offset)
        target.write(data)
    target.flush()


def _walk(file: BinaryIO, start: int, end: int, caps: VideoCaps, found: _Found) -> None:
    for box in _boxes(file, start, end):
        found.boxes += 1
        if found.boxes > MAX_BOXES:
            raise MediaError("TooLarge", f"the video has more than {MAX_BOXES} boxes; send an ordinary MP4 or MOV file")
        if box.kind == b"cmov":
            raise MediaError("UnsupportedFileFormat", "the video's headers are compressed; send an ordinary MP4 file")
        if box.kind in _METADATA:
            found.emptied.append(box)
        elif box.kind == b"trak":
            _walk_track(file, box, caps, found)
        elif box.kind in _WALKED:
            _walk(file, box.content, box.end, caps, found)
        else:
            _check(file, box, caps, found)


def _walk_track(file: BinaryIO, box: Box, caps: VideoCaps, found: _Found) -> None:
    """A track; one that is neither picture nor sound is emptied as a whole."""
    found.tracks += 1
    if found.tracks > caps.tracks:
        raise MediaError("TooLarge", f"the video has more than {caps.tracks} tracks; send one of a picture and a sound")
    found.handler = b""
    _walk(file, box.content, box.end, caps, found)
    if found.handler and found.handler not in _KEPT_TRACKS:
        found.emptied.append(box)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes from `start` to `end`; ends where they are damaged, which the demuxer judges."""
    while start + 8 <= end:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if size == 1:
            long = file.read(8)
            if len(long) < 8:
                return
            size, content = struct.unpack(">Q", long)[0], start + 16
        stop = end if size == 0 else start + size
        if stop < content or stop > end:
            return
        yield Box(kind, start, content, stop)
        start = stop


def _check(file: BinaryIO, box: Box, caps: VideoCaps, found: _Found) -> None:
    """What one header box says; also notes the dates in it, which are zeroed."""
    file.seek(box.content)
    data = file.read(min(box.end - box.content, 4096))
    match box.kind:
        case b"mvhd" | b"mdhd":
            _check_seconds(data, caps)
            found.zeroed.append((box.content + 4, min(box.end, box.content + (20 if data[:1] == b"\1" else 12))))
        case b"tkhd":
            found.zeroed.append((box.content + 4, min(box.end, box.content + (20 if data[:1] == b"\1" else 12))))
        case b"hdlr" if not found.handler:
            found.handler = data[8:12]
        case b"dref":
            _check_references(data)
        case b"stsd" if found.handler == b"vide":
            _check_pixels(data, caps)
        case b"stsz" | b"stz2" if found.handler == b"vide":
            count = int.from_bytes(data[8:12])
            if count > caps.frames:
                raise MediaError("TooLarge", f"the video has {count} pictures; send one of at most {caps.frames}")


def _check_seconds(data: bytes, caps: VideoCaps) -> None:
    form = ">8xII" if data[:1] != b"\1" else ">16xIQ"
    if len(data) < 4 + struct.calcsize(form):
        return
    scale, duration = struct.unpack_from(form, data, 4)
    unknown = 2 ** (32 if data[:1] != b"\1" else 64) - 1
    if scale and duration != unknown and duration / scale > caps.seconds + SLACK_SECONDS:
        raise MediaError(
            "TooLarge", f"the video lasts {duration / scale:.0f} seconds; send one of at most {caps.seconds:g} seconds"
        )


def _check_references(data: bytes) -> None:
    """Each entry must say that the data lies in this file."""
    at, count = 8, int.from_bytes(data[4:8])
    for _ in range(min(count, 16)):
        size = int.from_bytes(data[at : at + 4])
        if size < 12 or not data[at + 11 : at + 12] or not data[at + 11] & 1:
            raise MediaError(
                "UnsupportedFileFormat", "the video refers to data in other files; send one that holds all of it"
            )
        at += size


def _check_pixels(data: bytes, caps: VideoCaps) -> None:
    """Width and height of the first kind of picture in the track."""
    width, height = int.from_bytes(data[40:42]), int.from_bytes(data[42:44])
    if width * height > caps.pixels:
        raise MediaError("TooLarge", f"the video is {width}x{height}; send at most {caps.pixels:,} pixels")
