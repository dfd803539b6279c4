"""Source videos: hostile MP4 and MOV files in, facts and frames of the model's size out. Imports no torch: the intake
uses it too. Nothing is decoded here; a limited process does that (engine.source_process).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from engine.source_process import Limits, ask
from hhray.errors import MediaError
from hhray.geometry import Size

VIDEO_KINDS = "MP4 or MOV file"
DAMAGED = f"the video cannot be read; send an undamaged {VIDEO_KINDS}"
DEFAULT_MEMORY_BYTES = 2 * 1024**3


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
    order = {"task": "probe", "path": str(path), "kinds": VIDEO_KINDS}
    answer = ask("the video", order, Limits(memory_bytes, seconds))
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
