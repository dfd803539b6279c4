"""Reads the server's own MP4 files for scoring: small frames and sound."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame
from numpy.typing import NDArray

SOUND_RATE = 48_000
WORKING_HEIGHT = 128  # pixels; larger frames are averaged down by a whole factor


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """`frames` uint8 RGB [F, H, W, 3], 25 a second, `sound` float32 [2, N] at 48 kHz."""

    frames: NDArray[np.uint8]
    sound: NDArray[np.float32]


def watch(path: Path) -> Watched:
    """A clip's frames, averaged down to about 128 rows (192 at most), and its sound; for files this project wrote."""
    with av.open(str(path)) as container:
        frames = np.stack([smaller(_pixels(frame)) for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        resampler = AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE)
        parts = [part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        parts += [part.to_ndarray() for part in resampler.resample(None)]
    return Watched(frames, np.concatenate(parts, axis=1))


def _pixels(frame: VideoFrame) -> NDArray[np.uint8]:
    return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def smaller(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame [H, W, 3] averaged down by a whole factor, to at least 128 rows where it has as many."""
    factor = max(1, frame.shape[0] // WORKING_HEIGHT)
    if factor == 1:
        return frame
    height, width = (side // factor * factor for side in frame.shape[:2])
    total = np.zeros((height // factor, width // factor, 3), dtype=np.uint32)
    for row, column in product(range(factor), repeat=2):
        total += frame[row:height:factor, column:width:factor]
    return np.asarray((total + factor**2 // 2) // factor**2, dtype=np.uint8)
