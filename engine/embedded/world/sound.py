"""Sound that belongs to the picture: a tone for each shape that moves, a click at each bounce, a face's voice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.embedded.world.canvas import NATIVE
from engine.embedded.world.motion import contacts, sounding, track
from engine.embedded.world.scene import Scene, Thing
from engine.embedded.world.voice import voice

SAMPLE_RATE = 51_200
# Hz; multiples of 25, so that each 1/25 s holds whole periods
TONES = {
    "ball": 200,
    "square": 250,
    "triangle": 325,
    "star": 425,
    "diamond": 525,
    "heart": 675,
    "ring": 875,
    "cross": 1125,
}
OVERTONES = (1.0, 0.25, 0.1)
LOUDNESS = 1.0  # amplitude for a radius of one height
FADE_SECONDS = 0.02
CLICK_SECONDS, CLICK_DECAY = 0.03, 0.006
CLICK_LOUDNESS = 2.5
CONTROL_RATE = 200  # places are computed this often and run linearly in between
SEED = 25


def sound(scene: Scene, num_samples: int, aspect: float = NATIVE.aspect) -> NDArray[np.float32]:
    """Stereo sound of the scene: float32 [2, num_samples] in [-1, 1] at 51,200 Hz; a thing sounds from where it is."""
    times = np.arange(num_samples) / SAMPLE_RATE
    total = np.zeros((2, num_samples))
    for thing in scene.things:
        total += _heard(thing, times, aspect)
    if scene.face:
        total += voice(scene.face, times) * _sides(np.array(0.25 + 0.5 * scene.face.across))[:, None]
    return np.clip(total, -1, 1).astype(np.float32)


def _heard(thing: Thing, times: NDArray[np.float64], aspect: float) -> NDArray[np.float64]:
    seconds = len(times) / SAMPLE_RATE
    control = np.arange(int(seconds * CONTROL_RATE) + 2) / CONTROL_RATE
    path = track(thing, control, aspect)
    loudness = LOUDNESS * path.radius * sounding(thing, control)
    fade = np.clip(times / FADE_SECONDS, 0, 1)
    wave = sum(
        weight * np.sin(2 * np.pi * TONES[thing.shape] * order * times) for order, weight in enumerate(OVERTONES, 1)
    )
    mono = wave * fade * np.interp(times, control, loudness)
    for moment in contacts(thing, seconds):
        start = round(moment * SAMPLE_RATE)
        click = _click()[: len(times) - start]
        mono[start : start + len(click)] += CLICK_LOUDNESS * path.radius[0] * click
    sides = _sides(np.clip(path.x / aspect, 0, 1))
    return np.asarray(mono * np.stack([np.interp(times, control, side) for side in sides]))


def _sides(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Loudness on the left and the right for places from 0 (left) to 1: of equal power, never quite silent."""
    angle = np.pi / 2 * (0.2 + 0.6 * place)
    return np.stack([np.cos(angle), np.sin(angle)])


def _click() -> NDArray[np.float64]:
    """A burst of high noise that dies away."""
    noise = np.random.default_rng(SEED).normal(size=round(CLICK_SECONDS * SAMPLE_RATE) + 1)
    high = np.diff(noise) / np.sqrt(2)
    return np.asarray(high * np.exp(-np.arange(len(high)) / SAMPLE_RATE / CLICK_DECAY))
