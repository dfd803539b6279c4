"""Finds things by their hue: backgrounds have next to none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.embedded.world.palette import BACKGROUNDS, COLOURS

CHROMA = 72  # largest minus smallest channel; backgrounds stay below 30
PLAIN = 34  # less than this: a background's
SECOND_SHARE = 0.06  # of the largest thing's pixels
PRESENT_SHARE = 0.5  # of the frames
PRESENT_PIXELS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A thing that was seen: the name of its colour and its pixels, bool [F, H, W]."""

    colour: str
    mask: NDArray[np.bool_]


def hues(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Hue in degrees of RGB pixels [N, 3]."""
    red, green, blue = pixels.astype(np.float32).T
    angle = np.degrees(np.arctan2(np.float32(np.sqrt(3)) * (green - blue), 2 * red - green - blue)) % 360
    return np.asarray(angle, dtype=np.float32)


def sprites(frames: NDArray[np.uint8], most: int = 2) -> list[Sprite]:
    """The things in frames uint8 [F, H, W, 3], largest first, at most `most` of them, of different colours."""
    nearest = _nearest_colours(frames)
    counts = [int(np.sum(nearest == place)) for place in range(len(COLOURS))]
    found = []
    for place in np.argsort(counts)[::-1][:most]:
        mask = nearest == place
        if counts[place] < SECOND_SHARE * max(counts) or not _present(mask):
            break
        found.append(Sprite(tuple(COLOURS)[place], mask))
    return found


def _nearest_colours(frames: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Index of the nearest colour by hue for each pixel, -1 for pixels without hue."""
    nearest = np.full(frames.shape[:-1], -1, dtype=np.int8)
    known = hues(np.array(list(COLOURS.values())))
    for frame, answer in zip(frames, nearest, strict=True):
        coloured = _chroma(frame) > CHROMA
        apart = np.abs((hues(frame[coloured])[:, None] - known + 180) % 360 - 180)
        answer[coloured] = apart.argmin(axis=1)
    return nearest


def background_of(frames: NDArray[np.uint8]) -> str:
    """The background whose mean tone is nearest to the pixels without hue in frames uint8 [F, H, W, 3]: tells plain
    ones apart."""
    some = frames[:: max(1, len(frames) // 4)]
    plain = some[_chroma(some) < PLAIN]
    tone = np.median(plain, axis=0) if len(plain) else np.zeros(3)
    tones = {name: np.mean(pair, axis=0) for name, pair in BACKGROUNDS.items()}
    return min(tones, key=lambda name: float(np.abs(tones[name] - tone).sum()))


def _chroma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest minus smallest channel of pixels [..., 3]; by hand, since numpy is slow over so short an axis."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    largest, smallest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return np.asarray(largest - smallest)


def _present(mask: NDArray[np.bool_]) -> bool:
    return bool(np.mean(mask.sum(axis=(1, 2)) >= PRESENT_PIXELS) >= PRESENT_SHARE)
