"""What the drawer learns from: points in and about shapes, and how much of a pixel there each paint covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from engine.embedded.codecs.drawing import NEAR
from engine.embedded.codecs.fields import KINDS, simplex
from engine.embedded.world.render import CLOSED, EYE, MOUTH, OPEN, PUPIL
from engine.embedded.world.shapes import OUTLINES

Numbers = NDArray[np.float32]

SMALLEST, LARGEST = 6.0, 60.0  # radii in pixels
FACE_SHARE = 0.3  # a face has more in it than a shape
SHAPE_NOISE = 0.15  # what is left of noise in the latents when a thing's cells have been averaged
MOUTH_NOISE = 0.03
NEAR_EDGES = 0.12  # radii: points farther from an outline than this are drawn less often


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Inputs of ShapeNetwork, and the coverages it should give: float32 [N, 3]."""

    place: Tensor
    radius: Tensor
    shape: Tensor
    mouth: Tensor
    shares: Tensor


def draw_points(rng: Generator, count: int) -> Points:
    """About `count` points: half as many near outlines, the rest anywhere."""
    share = np.full(len(KINDS), (1 - FACE_SHARE) / len(OUTLINES))
    share[-1] = FACE_SHARE
    parts = [_of_kind(rng, place, max(2, round(part * count))) for place, part in enumerate(share)]
    return Points(*(torch.from_numpy(np.concatenate(one)) for one in zip(*parts, strict=True)))


def _of_kind(rng: Generator, kind: int, count: int) -> tuple[Numbers, Numbers, Numbers, Numbers, Numbers]:
    tried = 3 * count
    place = rng.uniform(-NEAR, NEAR, (tried, 2)).astype(np.float32)
    radius = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), tried)).astype(np.float32)
    mouth = _openings(rng, tried) if KINDS[kind] == "face" else np.zeros(tried, np.float32)
    distances = _distances(kind, place, mouth)
    likely = 1 / (1 + np.square(np.abs(distances).min(axis=1) / NEAR_EDGES)) + 0.15
    chosen = np.argsort(rng.random(tried) / likely)[:count]
    place, radius, mouth = place[chosen], radius[chosen], mouth[chosen]
    shares = np.clip(0.5 - distances[chosen] * radius[:, None], 0, 1).astype(np.float32)
    noise = SHAPE_NOISE * rng.random((count, 1)) * rng.standard_normal((count, len(KINDS) - 1))
    shape = (simplex()[kind] + noise).astype(np.float32)
    shape /= np.linalg.norm(shape, axis=1, keepdims=True)
    heard = mouth + MOUTH_NOISE * rng.random(count) * rng.standard_normal(count)
    return place, radius, shape, heard.astype(np.float32), shares


def _openings(rng: Generator, count: int) -> Numbers:
    return np.clip(rng.uniform(-0.3, 1.1, count), 0, 1).astype(np.float32)


def _distances(kind: int, place: Numbers, mouth: Numbers) -> Numbers:
    """From the outline of the thing, of what is white, and of what is ink, in radii: [N, 3]."""
    x, y = place.T
    if KINDS[kind] != "face":
        outline = OUTLINES[KINDS[kind]](x, y)
        nothing = np.full_like(outline, 1.0)
        return np.stack([outline, nothing, nothing], axis=1).astype(np.float32)
    eye = np.hypot(np.abs(x) - EYE[0], y - EYE[1])
    half_height = CLOSED + mouth * (OPEN - CLOSED)
    lips = np.hypot(x * half_height / MOUTH[0], y - MOUTH[1]) - half_height
    ink = np.minimum(eye - PUPIL, lips)
    return np.stack([np.hypot(x, y) - 1, eye - EYE[2], ink], axis=1).astype(np.float32)
