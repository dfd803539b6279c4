"""How a thing moves, from the track of its centre and its size; and when it touches the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.embedded.world.scene import Motion

Numbers = NDArray[np.float64]

JUMP = 0.25  # larger steps are a thing that left at one side and came back at the other
REST = 0.06  # a thing that stays within this does not move
GREW = 0.3  # natural logarithm of its last size over its first
ROUND = 0.4  # least share of a circle's longer side that its shorter one has
TURNED = 0.6 * 2 * np.pi
RETURNED = 0.6  # more of the way than this in one direction is no bouncing
NEAR_GROUND = 0.3  # of the height of the jump
WINDOW = 4  # frames on either side in which a touch is the lowest place


@dataclass(frozen=True, slots=True, eq=False)
class SeenTrack:
    """Centre and square root of the area, in heights of the picture, float64 [F]; nan where it was not seen."""

    x: Numbers
    y: Numbers
    size: Numbers


def seen_track(mask: NDArray[np.bool_]) -> SeenTrack:
    """The track of a mask bool [F, H, W]."""
    height, width = mask.shape[1:]
    area = mask.sum(axis=(1, 2)).astype(np.float64)
    area[area == 0] = np.nan
    x = mask.sum(axis=1) @ (np.arange(width) + 0.5) / area / height
    y = mask.sum(axis=2) @ (np.arange(height) + 0.5) / area / height
    return SeenTrack(x, y, np.sqrt(area) / height)


def motion_of(seen: SeenTrack) -> Motion:
    """The motion that fits the track."""
    x, y, size = (_smooth(values[np.isfinite(seen.size)]) for values in (seen.x, seen.y, seen.size))
    if len(size) < 2 * WINDOW:
        return Motion.STILL
    edge = max(1, len(size) // 8)
    grew = float(np.log(np.median(size[-edge:]) / np.median(size[:edge])))
    steps = np.stack([np.diff(x), np.diff(y)])
    steps[:, np.hypot(*steps) > JUMP] = 0
    wide, high = (np.ptp(np.cumsum(axis)) for axis in steps)
    if max(wide, high) < REST or grew > max(GREW, 3 * max(wide, high)):
        return Motion.GROW if grew > GREW else Motion.STILL
    if min(wide, high) > ROUND * max(wide, high) and _turned(steps) > TURNED:
        return Motion.CIRCLE
    (right, down), way = steps.sum(axis=1), np.abs(steps[1]).sum()
    if high > wide:
        if abs(down) < RETURNED * way:
            return Motion.BOUNCE
        return Motion.DOWN if down > 0 else Motion.UP
    return Motion.RIGHT if right > 0 else Motion.LEFT


def touches(seen: SeenTrack) -> NDArray[np.int64]:
    """Frames in which a bouncing thing is lowest: at the ground."""
    y = np.where(np.isfinite(seen.y), seen.y, -1)
    lowest, height = y.max(), np.ptp(seen.y[np.isfinite(seen.y)])
    frames = [
        frame
        for frame in range(1, len(y) - 1)
        if y[frame] == y[max(0, frame - WINDOW) : frame + WINDOW + 1].max()
        and y[frame] > lowest - NEAR_GROUND * height
        and y[frame] > y[frame - 1]
    ]
    return np.array(frames, dtype=np.int64)


def _turned(steps: Numbers) -> float:
    """Angle the direction of motion turned through."""
    moving = steps[:, np.hypot(*steps) > 1e-4]
    return abs(float(np.ptp(np.unwrap(np.arctan2(moving[1], moving[0])))))


def _smooth(values: Numbers) -> Numbers:
    """Mean over five frames."""
    return np.convolve(values, np.full(5, 0.2), mode="valid") if len(values) >= 5 else values
