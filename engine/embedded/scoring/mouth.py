"""How far a face's mouth is open, and whether that goes with the loudness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DARK = 90  # largest channel of the mouth's pixels
MOUTH_BOX = (0.52, 0.94, 0.24, 0.76)  # top, bottom, left, right, as shares of the face
MOST_LAG = 8


def opening(frames: NDArray[np.uint8], face: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of dark pixels where the mouth is, float64 [F]; `face` bool [F, H, W] marks the face's own colour."""
    rows, columns = (
        np.flatnonzero(face.mean(axis=0).max(axis=1) > 0.5),
        np.flatnonzero(face.mean(axis=0).max(axis=0) > 0.5),
    )
    if not len(rows) or not len(columns):
        return np.zeros(len(frames))
    top, left = rows[0], columns[0]
    height, width = rows[-1] + 1 - top, columns[-1] + 1 - left
    low, high = (top + round(share * height) for share in MOUTH_BOX[:2])
    near, far = (left + round(share * width) for share in MOUTH_BOX[2:])
    box = frames[:, low:high, near:far]
    if not box.size:  # of a thing that moves, a sliver may be in one place most of the time
        return np.zeros(len(frames))
    dark = (box[..., 0] < DARK) & (box[..., 1] < DARK) & (box[..., 2] < DARK)
    return np.asarray(dark.mean(axis=(1, 2)))


def lag(opened: NDArray[np.float64], loud: NDArray[np.float64]) -> tuple[int, float]:
    """Frames by which the sound comes after the mouth, where both agree best, and their correlation there."""
    scores = {shift: _correlation(opened, loud, shift) for shift in range(-MOST_LAG, MOST_LAG + 1)}
    best = max(scores, key=lambda shift: scores[shift])
    return best, scores[best]


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64], shift: int) -> float:
    """Correlation of first[k] with second[k + shift], 0 if either does not change."""
    count = len(first) - abs(shift)
    one, other = first[max(0, -shift) :][:count], second[max(0, shift) :][:count]
    if one.std() < 1e-6 or other.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
