"""Where a thing is at any time, how large it is, and when it touches the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.embedded.world.scene import Bulk, Motion, Speed, Thing
from engine.embedded.world.shapes import BOTTOMS

Times = NDArray[np.float64]

RADIUS = {Bulk.SMALL: 0.15, Bulk.MEDIUM: 0.19, Bulk.LARGE: 0.23}
TRAVEL_SECONDS = 3.0  # the free way is long enough for this; later a thing comes back in at the other side
TRAVEL = {Speed.SLOW: 0.4, Speed.NORMAL: 0.65, Speed.FAST: 0.95}  # share of the free way in TRAVEL_SECONDS
BOUNCE_SECONDS = {Speed.SLOW: 1.3, Speed.NORMAL: 1.0, Speed.FAST: 0.72}
TURN_SECONDS = {Speed.SLOW: 3.0, Speed.NORMAL: 2.2, Speed.FAST: 1.5}
GROWTH = {Speed.SLOW: 1.8, Speed.NORMAL: 2.3, Speed.FAST: 3.0}  # last radius over first, in TRAVEL_SECONDS
GROWN = 1.4  # last radius over that of a thing that moves
FILLED = 0.48  # but at most this share of the lane's shorter side
GROUND = 0.02  # above the lower edge of the lane


@dataclass(frozen=True, slots=True)
class Box:
    """A lane in heights of the picture."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Centres and radii float64 [F], in heights of the picture."""

    x: Times
    y: Times
    radius: Times


def box_of(thing: Thing, aspect: float) -> Box:
    """The thing's lane in a picture of width `aspect`."""
    lane = thing.lane
    return Box(lane.left * aspect, lane.top, lane.right * aspect, lane.bottom)


def radius_of(thing: Thing, aspect: float) -> float:
    """Radius of a thing that does not grow; things are smaller in upright pictures."""
    return RADIUS[thing.bulk] * min(1.0, aspect)


def track(thing: Thing, times: Times, aspect: float) -> Track:
    """Centre and radius at `times` (seconds, float64 [F]) in a picture of width `aspect` heights."""
    box, radius = box_of(thing, aspect), radius_of(thing, aspect)
    if thing.motion is Motion.GROW:
        return _growing(thing, times, box, radius)
    constant = np.full_like(times, radius)
    if thing.motion in (Motion.LEFT, Motion.RIGHT):
        x = _travel(thing, times, box.left, box.right, radius)
        return Track(x, np.full_like(times, _between(box.top, box.bottom, radius, thing.across)), constant)
    x = np.full_like(times, _between(box.left, box.right, radius, thing.across))
    if thing.motion in (Motion.UP, Motion.DOWN):
        return Track(x, _travel(thing, times, box.top, box.bottom, radius), constant)
    if thing.motion is Motion.BOUNCE:
        return Track(x, _bouncing(thing, times, box, radius), constant)
    if thing.motion is Motion.CIRCLE:
        return _circling(thing, times, box, constant)
    return Track(x, np.full_like(times, _between(box.top, box.bottom, radius, thing.start)), constant)


def contacts(thing: Thing, seconds: float) -> Times:
    """Times in (0, `seconds`) at which a bouncing thing touches the ground; none for any other."""
    if thing.motion is not Motion.BOUNCE:
        return np.empty(0)
    period = BOUNCE_SECONDS[thing.speed]
    times = (np.arange(1, math.ceil(seconds / period) + 2) - thing.start) * period
    return np.asarray(times[(times > 0) & (times < seconds)], dtype=np.float64)


def sounding(thing: Thing, times: Times) -> NDArray[np.bool_]:
    """Whether the thing moves, and so sounds, at each time."""
    if thing.motion is Motion.GROW:
        return times < TRAVEL_SECONDS
    return np.full(times.shape, thing.motion is not Motion.STILL)


def _between(low: float, high: float, radius: float, share: float) -> float:
    return low + radius + share * (high - low - 2 * radius)


def _travel(thing: Thing, times: Times, low: float, high: float, radius: float) -> Times:
    """Along an axis at constant speed; out at one side, then in at the other."""
    free = high - low - 2 * radius
    way = TRAVEL[thing.speed] * free
    gone = thing.start * (free - way) + way / TRAVEL_SECONDS * times
    gone = (gone + 2 * radius) % (high - low + 2 * radius) - 2 * radius
    forward = thing.motion in (Motion.RIGHT, Motion.DOWN)
    return low + radius + gone if forward else high - radius - gone


def _bouncing(thing: Thing, times: Times, box: Box, radius: float) -> Times:
    """Parabolas between touches of the ground."""
    ground = box.bottom - GROUND - radius * BOTTOMS[thing.shape]
    height = 0.9 * (ground - box.top - radius)
    phase = (times / BOUNCE_SECONDS[thing.speed] + thing.start) % 1
    return ground - 4 * height * phase * (1 - phase)


def _circling(thing: Thing, times: Times, box: Box, radius: Times) -> Track:
    """Clockwise about the middle of the lane."""
    way = 0.92 * (min(box.right - box.left, box.bottom - box.top) / 2 - radius)
    angle = 2 * np.pi * (times / TURN_SECONDS[thing.speed] + thing.start)
    middle = _between(box.left, box.right, float(way[0] + radius[0]), thing.across)
    return Track(middle + way * np.cos(angle), (box.top + box.bottom) / 2 + way * np.sin(angle), radius)


def _growing(thing: Thing, times: Times, box: Box, radius: float) -> Track:
    """Larger by the same factor every second, for TRAVEL_SECONDS; then it stays."""
    room = FILLED * min(box.right - box.left, box.bottom - box.top)
    last, factor = min(GROWN * radius, room), GROWTH[thing.speed]
    sizes = last * factor ** (np.minimum(times / TRAVEL_SECONDS, 1) - 1)
    x, y = _between(box.left, box.right, last, thing.across), _between(box.top, box.bottom, last, thing.start)
    return Track(np.full_like(times, x), np.full_like(times, y), sizes)
