"""What the 48 channels of the small video codec mean: an object field.

Each latent pixel (16 x 16 pixels, 4 frames) says which thing is at or next to it, where that thing's centre is as seen
from here, how large it is, of which colour and shape, how far its mouth is open, and what lies behind it. All of it but
the background fades out within a cell of the thing. Neighbouring cells say the same in different words, and a thing
that moves evenly makes numbers that change evenly: this is what makes the latents easy to denoise. The codec is trained
to read these fields from pixels and to draw pixels from them (engine.embedded.codecs.video).

The last 20 channels carry nothing: 0 in what is encoded, not looked at in what is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.embedded.world.canvas import Canvas
from engine.embedded.world.motion import track
from engine.embedded.world.palette import BACKGROUNDS, COLOURS
from engine.embedded.world.render import FACE_RADIUS, face_centre
from engine.embedded.world.scene import Scene
from engine.embedded.world.shapes import OUTLINES
from engine.embedded.world.voice import openness
from hhray.geometry import FRAMES_PER_SECOND, SPATIAL_STRIDE, TEMPORAL_STRIDE
from hhray.model_size import VIDEO_CHANNELS

Latent = NDArray[np.float32]

PRESENCE = slice(0, 1)
OFFSETS = slice(1, 9)  # to the centre in each of the four frames: x, y, x, y, ..
RADIUS = slice(9, 10)
COLOUR = slice(10, 13)
SHAPE = slice(13, 21)
MOUTH = slice(21, 23)  # in the second and the fourth of the four frames
BACK = slice(23, 26)
TEXTURE = slice(26, 28)  # striped, chequered
SPARE = slice(28, 48)
NUM_USED = 28

KINDS = (*OUTLINES, "face")
TEXTURES = ("striped", "chequered")
REACH = 1.0  # cells over which a thing fades
# A latent is its value times its channel's level: about unit variance over the made world.
LEVELS = {"presence": 2.0, "offset": 1.2, "radius": 1.6, "colour": 2.0, "shape": 4.0, "mouth": 4.0, "back": 1.4}


def simplex() -> NDArray[np.float32]:
    """The nine kinds as corners of a simplex about 0 in eight dimensions, each of length 1: float32 [9, 8]."""
    count = len(KINDS)
    points = np.zeros((count, count - 1))
    for axis in range(1, count):  # Helmert's contrasts
        points[:axis, axis - 1], points[axis, axis - 1] = 1, -axis
        points[:, axis - 1] /= np.sqrt(axis * (axis + 1))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float32)


def fields(scene: Scene, num_latents: int, canvas: Canvas, first: int = 0) -> Latent:
    """The latents of a scene: float32 [48, num_latents, H / 16, W / 16]; `first` is the frame it begins with."""
    rows, columns = canvas.size.height // SPATIAL_STRIDE, canvas.size.width // SPATIAL_STRIDE
    latent = np.zeros((VIDEO_CHANNELS, num_latents, rows, columns), np.float32)
    tone = np.array(BACKGROUNDS[scene.background], np.float32).mean(axis=0)
    latent[BACK] = LEVELS["back"] * (tone / 127.5 - 1)[:, None, None, None]
    for place, texture in enumerate(TEXTURES):
        latent[TEXTURE.start + place] = LEVELS["back"] * (1.0 if scene.background == texture else -0.3)
    lay(latent, _codes(scene, sub_frames(num_latents) + first, canvas))
    return latent


def lay(latent: Latent, codes: Sequence[Code]) -> None:
    """Make every cell of `latent` [48, T, rows, columns], in place, say which of the things is nearest, if any is."""
    nearest = np.zeros(latent.shape[1:], np.float32)
    latent[: MOUTH.stop] = 0
    for code in codes:
        weight, values = _spread(code, *latent.shape[2:])
        chosen = weight > nearest
        nearest = np.maximum(nearest, weight)
        latent[: MOUTH.stop] = np.where(chosen, values, latent[: MOUTH.stop])


def sub_frames(num_latents: int) -> NDArray[np.int64]:
    """Which frames each latent holds: int64 [num_latents, 4]; the first latent is the first frame alone."""
    frames = TEMPORAL_STRIDE * np.arange(num_latents)[:, None] + np.arange(1 - TEMPORAL_STRIDE, 1)
    return np.asarray(np.maximum(frames, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """One thing: centres [T, 4, 2] and radii [T] in pixels, its colour [3], shape [8], and mouth [T, 2]."""

    centre: NDArray[np.float64]
    radius: NDArray[np.float64]
    colour: NDArray[np.float32]
    shape: NDArray[np.float32]
    mouth: NDArray[np.float64]


def _codes(scene: Scene, frames: NDArray[np.int64], canvas: Canvas) -> list[Code]:
    times, kinds = frames / FRAMES_PER_SECOND, simplex()
    corner, unit = np.array(canvas.corner), canvas.height
    codes = []
    for thing in scene.things:
        path = track(thing, times.ravel(), canvas.aspect)
        centre = np.stack([path.x, path.y], axis=-1).reshape(*frames.shape, 2) * unit + corner
        radius = path.radius.reshape(frames.shape).mean(axis=1) * unit
        kind = kinds[KINDS.index(thing.shape)]
        codes.append(Code(centre, radius, _rgb(thing.colour), kind, np.zeros((len(frames), 2))))
    if scene.face:
        middle = np.array(face_centre(scene.face, canvas.aspect)) * unit + corner
        centre = np.broadcast_to(middle, (*frames.shape, 2))
        radius = np.full(len(frames), FACE_RADIUS * min(1.0, canvas.aspect) * unit)
        mouth = openness(scene.face, times.ravel()).reshape(frames.shape)[:, 1::2]
        codes.append(Code(centre, radius, _rgb(scene.face.colour), kinds[-1], mouth))
    return codes


def _spread(code: Code, rows: int, columns: int) -> tuple[NDArray[np.float32], Latent]:
    """The weight of a thing in every cell, [T, rows, columns], and what the cells say of it, [23, T, rows, columns]."""
    cells = [SPATIAL_STRIDE * (np.arange(count) + 0.5) for count in (rows, columns)]
    away_x = code.centre[:, :, None, None, 0] - cells[1]  # [T, 4, 1, columns]
    away_y = code.centre[:, :, None, None, 1] - cells[0][:, None]
    gap = np.maximum(abs(away_x), abs(away_y)).min(axis=1) - code.radius[:, None, None] - SPATIAL_STRIDE / 2
    weight = np.clip(1 - gap / (REACH * SPATIAL_STRIDE), 0, 1).astype(np.float32)
    shape = weight.shape
    offsets = np.stack(np.broadcast_arrays(away_x, away_y), axis=2) / SPATIAL_STRIDE  # [T, 4, 2, rows, columns]
    parts = [
        np.full((1, *shape), LEVELS["presence"]),
        LEVELS["offset"] * offsets.reshape(len(offsets), 8, rows, columns).transpose(1, 0, 2, 3),
        _everywhere(LEVELS["radius"] * code.radius[None] / SPATIAL_STRIDE, shape),
        _everywhere(LEVELS["colour"] * np.repeat(code.colour[:, None], shape[0], axis=1), shape),
        _everywhere(LEVELS["shape"] * np.repeat(code.shape[:, None], shape[0], axis=1), shape),
        _everywhere(LEVELS["mouth"] * code.mouth.T, shape),
    ]
    return weight, np.asarray(weight * np.concatenate(parts), dtype=np.float32)


def _everywhere(values: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.floating]:
    """[channels, T] -> [channels, T, rows, columns]."""
    return np.broadcast_to(values[:, :, None, None], (len(values), *shape))


def _rgb(name: str) -> NDArray[np.float32]:
    return np.array(COLOURS[name], np.float32) / 127.5 - 1
