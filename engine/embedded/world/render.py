"""Frames of a scene at any size, smooth at the edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.embedded.world.canvas import NATIVE, Canvas
from engine.embedded.world.motion import track
from engine.embedded.world.palette import COLOURS, background
from engine.embedded.world.scene import Face, Scene
from engine.embedded.world.shapes import coverage
from engine.embedded.world.voice import openness
from hhray.geometry import FRAMES_PER_SECOND

Picture = NDArray[np.float32]

FACE_RADIUS = 0.4
EYE = (0.36, -0.3, 0.15)  # place and radius, in radii of the face
PUPIL = 0.075
MOUTH = (0.42, 0.38)  # half width, and place below the centre
CLOSED, OPEN = 0.035, 0.36  # half height of the mouth
INK = (25, 18, 22)
EYE_WHITE = (250, 250, 250)


def render(scene: Scene, num_frames: int, canvas: Canvas = NATIVE, first: int = 0) -> NDArray[np.uint8]:
    """Frames uint8 RGB [num_frames, H, W, 3] at 25 a second, from frame `first` on."""
    times = np.arange(first, first + num_frames) / FRAMES_PER_SECOND
    empty = background(scene.background, canvas.size)
    frames = np.repeat(np.round(empty).astype(np.uint8)[None], num_frames, axis=0)
    paths = [(thing, track(thing, times, canvas.aspect)) for thing in scene.things]
    mouth = openness(scene.face, times) if scene.face else times
    (left, top), unit = canvas.corner, canvas.height
    for index, frame in enumerate(frames):
        for thing, path in paths:
            place = left + path.x[index] * unit, top + path.y[index] * unit
            _paint(frame, thing.shape, place, path.radius[index] * unit, COLOURS[thing.colour])
        if scene.face:
            _paint_face(frame, scene.face, float(mouth[index]), canvas)
    return frames


def face_centre(face: Face, aspect: float) -> tuple[float, float]:
    """Centre of a face in heights of the picture."""
    reach = FACE_RADIUS * min(1.0, aspect) + 0.02
    return reach + face.across * (aspect - 2 * reach), 0.5


def _paint_face(frame: NDArray[np.uint8], face: Face, mouth: float, canvas: Canvas) -> None:
    (left, top), centre = canvas.corner, face_centre(face, canvas.aspect)
    x, y = left + centre[0] * canvas.height, top + centre[1] * canvas.height
    unit = FACE_RADIUS * min(1.0, canvas.aspect) * canvas.height
    _paint(frame, "ball", (x, y), unit, COLOURS[face.colour])
    for side in (-1, 1):
        eye = x + side * EYE[0] * unit, y + EYE[1] * unit
        _paint(frame, "ball", eye, EYE[2] * unit, EYE_WHITE)
        _paint(frame, "ball", eye, PUPIL * unit, INK)
    half_height = CLOSED + mouth * (OPEN - CLOSED)
    _paint(frame, "ball", (x, y + MOUTH[1] * unit), half_height * unit, INK, stretch=MOUTH[0] / half_height)


def _paint(
    frame: NDArray[np.uint8],
    shape: str,
    centre: tuple[float, float],
    radius: float,
    colour: tuple[int, int, int],
    stretch: float = 1.0,
) -> None:
    """Paint a shape over the part of the frame it touches; `stretch` widens it. All lengths in pixels."""
    height, width, _ = frame.shape
    reach_x, reach_y = radius * stretch + 2, radius + 2
    left, right = (int(np.clip(np.floor(centre[0] + side * reach_x), 0, width)) for side in (-1, 1))
    top, bottom = (int(np.clip(np.floor(centre[1] + side * reach_y), 0, height)) for side in (-1, 1))
    if left == right or top == bottom:
        return
    x = ((np.arange(left, right) + 0.5 - centre[0]) / stretch).astype(np.float32)
    y = (np.arange(top, bottom) + 0.5 - centre[1]).astype(np.float32)
    share = coverage(shape, x[None], y[:, None], radius)[:, :, None]
    part = frame[top:bottom, left:right]
    part[:] = np.round(part + share * (np.array(colour, dtype=np.float32) - part)).astype(np.uint8)
