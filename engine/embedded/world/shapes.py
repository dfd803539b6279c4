"""Eight shapes, each as the distance of points from its outline: negative inside, in radii of the shape.

A shape of radius 1 reaches about 1 from its centre. Distances are exact near straight and round edges; smooth
edges need no more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]

SQUARE_HALF = 0.84
TRIANGLE_INNER = 0.5
STAR_INNER = 0.45
HEART_LOBE = (0.47, -0.34, 0.53)  # centre and radius of the right lobe
HEART_TIP = 0.98
HEART_MIDDLE = (0.05, 0.3)  # centre and radius of a disc that fills what lobes and tip leave open
BAR_HALF = 0.36
RING_MIDDLE, RING_HALF = 0.74, 0.26
DIAMOND = (0.68, 1.0)


def _ball(x: Field, y: Field) -> Field:
    return np.hypot(x, y) - 1


def _square(x: Field, y: Field) -> Field:
    return np.asarray(np.maximum(np.abs(x), np.abs(y)) - SQUARE_HALF)


def _triangle(x: Field, y: Field) -> Field:
    side = np.float32(np.sqrt(3) / 2) * np.abs(x) - y / 2
    return np.asarray(np.maximum(side, y) - TRIANGLE_INNER)


def _diamond(x: Field, y: Field) -> Field:
    wide, high = DIAMOND
    return np.asarray((np.abs(x) * high + np.abs(y) * wide - wide * high) / np.hypot(wide, high))


def _star(x: Field, y: Field) -> Field:
    """Five points: the plane is folded into one half of one point, whose edge is a line."""
    sector = np.float32(2 * np.pi / 5)
    angle = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    reach = np.hypot(x, y)
    along, across = reach * np.cos(angle), reach * np.sin(angle)
    inner_along, inner_across = STAR_INNER * np.cos(sector / 2), STAR_INNER * np.sin(sector / 2)
    edge = np.array([1 - inner_along, inner_across])
    distance: Field = ((along - 1) * edge[1] + across * edge[0]) / np.hypot(*edge)
    return distance


def _heart(x: Field, y: Field) -> Field:
    """Two round lobes, and below them the tangents that meet in the tip."""
    across, down, radius = HEART_LOBE
    to_tip = np.array([across, down - HEART_TIP])
    angle = np.arctan2(to_tip[1], to_tip[0]) + np.arccos(-radius / np.hypot(*to_tip))
    normal = np.array([np.cos(angle), np.sin(angle)])
    right = np.abs(x)
    lobe = np.hypot(right - across, y - down) - radius
    body = np.maximum(right * normal[0] + (y - HEART_TIP) * normal[1], down + radius * normal[1] - y)
    middle = np.hypot(x, y - HEART_MIDDLE[0]) - HEART_MIDDLE[1]
    return np.asarray(np.minimum(np.minimum(lobe, middle), body))


def _ring(x: Field, y: Field) -> Field:
    return np.abs(np.hypot(x, y) - RING_MIDDLE) - RING_HALF


def _cross(x: Field, y: Field) -> Field:
    right, down = np.abs(x), np.abs(y)
    return np.asarray(np.maximum(np.minimum(right, down) - BAR_HALF, np.maximum(right, down) - 1))


OUTLINES: dict[str, Callable[[Field, Field], Field]] = {
    "ball": _ball,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "diamond": _diamond,
    "heart": _heart,
    "ring": _ring,
    "cross": _cross,
}

# How far each shape reaches below its centre: it bounces on that.
BOTTOMS = {
    "ball": 1.0,
    "square": SQUARE_HALF,
    "triangle": TRIANGLE_INNER,
    "star": float(np.cos(np.pi / 5)),
    "diamond": DIAMOND[1],
    "heart": HEART_TIP,
    "ring": 1.0,
    "cross": 1.0,
}


def coverage(shape: str, x: Field, y: Field, radius: float) -> NDArray[np.float32]:
    """Share of each pixel inside the shape: float32 in [0, 1]; `x`, `y` and `radius` are in pixels."""
    distance = OUTLINES[shape](x / np.float32(radius), y / np.float32(radius)) * radius
    return np.asarray(np.clip(0.5 - distance, 0, 1), dtype=np.float32)
