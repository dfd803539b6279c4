"""Source videos and driving sound: hostile files in, facts, frames of the model's size and samples out.

Imports no torch: the intake uses it too. Nothing is decoded here; a limited process does that (engine.source_process).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.source_process import Limits, ask
from hhray.errors import MediaError
from hhray.geometry import FRAMES_PER_SECOND, Size

VIDEO_KINDS = "MP4 or MOV file"
SOUND_KINDS = "WAV, MP3, M4A, FLAC or OGG file"
DAMAGED = f"the video cannot be read; send an undamaged {VIDEO_KINDS}"
# Python and the libraries take 0.2 GB; 16 frames of history of 4096x4096 in 10 bits would take about 1 GB.
DEFAULT_MEMORY_BYTES = 2 * 1024**3
MAX_SOUND_RATE = 192_000
MAX_SAMPLE_BYTES = 2 * 4


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video is: `size` as it is meant to be seen (upright, square pixels), `seconds` of its picture track,
    `frames_per_second` on average, and whether it has sound that can be decoded."""

    size: Size
    seconds: float
    frames_per_second: float
    has_sound: bool


def probe_video(path: Path, *, memory_bytes: int = DEFAULT_MEMORY_BYTES, seconds: float = 30.0) -> VideoFacts:
    """Facts of a video, after decoding its first frames, so that a damaged file is found here.

    Args:
        memory_bytes: address space the reading process may have; about 0.3 GB of it are Python and the libraries.
        seconds: of computing it may spend.

    Raises:
        MediaError: UnsupportedFileFormat (no MP4 or MOV, damaged, no picture) or TooLarge (pixels, memory, time).
    """
    order = {"task": "probe", "path": str(path.absolute()), "kinds": VIDEO_KINDS}
    return video_facts(ask("the video", order, Limits(memory_bytes, seconds)))


def video_facts(answer: dict[str, Any]) -> VideoFacts:
    """What a reader found, believed as far as it makes sense.

    Raises:
        MediaError: UnsupportedFileFormat: it makes none.
    """
    try:
        size = Size(int(answer["width"]), int(answer["height"]))
        facts = VideoFacts(
            size, float(answer["seconds"]), float(answer["frames_per_second"]), bool(answer["has_sound"])
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise MediaError("UnsupportedFileFormat", DAMAGED) from error
    measures = (size.width, size.height, facts.seconds, facts.frames_per_second)
    if not all(0 < measure < math.inf for measure in measures):
        raise MediaError("UnsupportedFileFormat", DAMAGED)
    return facts


@dataclass(frozen=True, slots=True, eq=False)
class SourceClip:
    """`frames` uint8 RGB [F, H, W, 3], 25 a second; `sound` float32 [2, N] of the same length at `sound_rate` Hz, in
    step with them; None and 0 where there is no track. Frames may lie in a deleted file that is mapped into memory."""

    frames: NDArray[np.uint8]
    sound: NDArray[np.float32] | None
    sound_rate: int


def read_video(
    path: Path,
    *,
    size: Size,
    num_frames: int,
    scratch_dir: Path,
    aspect: float | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    seconds: float = 120.0,
) -> SourceClip:
    """The first `num_frames` / 25 s of a video, its last frame repeated where it ends before.

    Each frame is what the source shows at its time: turned upright, cropped about its centre to `aspect` (None: that of
    `size`), and resized to the part of that aspect in the middle of `size`, edge pixels repeated around it. Damaged
    parts in the middle show the frame before them, and silence.

    Args:
        scratch_dir: gets a temporary file of all frames; it is gone when this returns or raises.
        memory_bytes, seconds: as in `probe_video`.

    Raises:
        MediaError: as in `probe_video`.
    """
    shape = (num_frames, size.height, size.width, 3)
    num_bytes = math.prod(shape)
    limit = max(num_bytes, round(num_frames / FRAMES_PER_SECOND * MAX_SOUND_RATE) * MAX_SAMPLE_BYTES)
    with _scratch(scratch_dir) as folder:
        order = {"task": "video", "path": str(path.absolute()), "kinds": VIDEO_KINDS, "num_frames": num_frames}
        order |= {"width": size.width, "height": size.height, "aspect": aspect or size.aspect}
        order |= {"frames": str(folder / "frames"), "sound": str(folder / "sound")}
        answer = ask("the video", order, Limits(memory_bytes, seconds, limit))
        frames = _mapped(folder / "frames", np.uint8, shape, DAMAGED)
        rate = _count(answer, "sound_rate", MAX_SOUND_RATE)
        if not rate:
            return SourceClip(frames, None, 0)
        num_samples = round(num_frames / FRAMES_PER_SECOND * rate)
        return SourceClip(frames, _mapped(folder / "sound", np.float32, (2, num_samples), DAMAGED), rate)


def read_sound(
    path: Path,
    *,
    max_seconds: float,
    scratch_dir: Path,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    seconds: float = 60.0,
) -> tuple[NDArray[np.float32], int]:
    """The first `max_seconds` of a WAV, MP3, M4A, FLAC or OGG file: float32 [C, N] in [-1, 1], C 1 or 2 (more channels
    are mixed down), and its rate in Hz.

    Args:
        scratch_dir, memory_bytes, seconds: as in `read_video`.

    Raises:
        MediaError: UnsupportedFileFormat (of another kind, damaged, without sound) or TooLarge (memory, time).
    """
    damaged = f"the sound cannot be read; send an undamaged {SOUND_KINDS}"
    limit = math.ceil(max_seconds * MAX_SOUND_RATE) * MAX_SAMPLE_BYTES
    with _scratch(scratch_dir) as folder:
        order = {"task": "sound", "path": str(path.absolute()), "kinds": SOUND_KINDS, "max_seconds": max_seconds}
        order |= {"sound": str(folder / "sound")}
        answer = ask("the sound", order, Limits(memory_bytes, seconds, limit))
        shape = _count(answer, "channels", 2), _count(answer, "num_samples", limit)
        return _mapped(folder / "sound", np.float32, shape, damaged), _count(answer, "sound_rate", MAX_SOUND_RATE)


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="source-", dir=parent) as folder:
        yield Path(folder).resolve()


def _count(answer: dict[str, object], name: str, largest: int) -> int:
    value = answer.get(name)
    if not isinstance(value, int) or not 0 <= value <= largest:
        raise MediaError("UnsupportedFileFormat", DAMAGED)
    return value


def _mapped(path: Path, dtype: type[np.generic], shape: tuple[int, ...], damaged: str) -> NDArray[Any]:
    """The array in a file, which may be deleted then. Writable, as torch wants it; the file itself is not written."""
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if not expected or not path.is_file() or path.stat().st_size != expected:
        raise MediaError("UnsupportedFileFormat", damaged)
    return np.asarray(np.memmap(path, dtype, "c", shape=shape))
