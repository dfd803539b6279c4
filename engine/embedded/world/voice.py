"""A voice-like tone: harmonics of a pitch under two formants, whose loudness is how far the mouth is open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.embedded.world.phrases import MANNERS, PHRASES
from engine.embedded.world.scene import Face

Samples = NDArray[np.float64]

LEAD_SECONDS = 0.16  # before the first word
PAUSE_SECONDS = 0.4  # before it is said again
PITCH_STEP = 25.0  # Hz
PITCHES = {"1": 2, "2": 1, "3": 0, "4": 1, "5": 1, "6": 0}  # steps above the lowest, by tone
OPENNESS = {"a": 1.0, "o": 0.8, "e": 0.7, "i": 0.55, "u": 0.45, "": 0.35}
FORMANTS = {"a": (750, 1250), "o": (500, 900), "e": (500, 1850), "i": (300, 2250), "u": (325, 700), "": (250, 1000)}
HARMONICS = 16
VOLUME = 0.3


@dataclass(frozen=True, slots=True)
class Syllable:
    """From `start` for `seconds`, both within one saying of the phrase."""

    vowel: str
    pitch: float
    start: float
    seconds: float


def syllables(face: Face) -> tuple[Syllable, ...]:
    """The syllables of one saying."""
    manner = MANNERS[face.language]
    spoken = PHRASES[face.language][face.phrase].syllables.split()
    return tuple(
        Syllable(_vowel(text), _pitch(text, place, manner.pitch), place * manner.syllable, manner.syllable)
        for place, text in enumerate(spoken)
    )


def openness(face: Face, times: Samples) -> Samples:
    """How far the mouth is open, and how loud the voice is, at each time: float64 in [0, 1]."""
    said, place = syllables(face), _within(face, times)
    total = np.zeros_like(times)
    for one in said:
        inside = (place >= one.start) & (place < one.start + one.seconds)
        total += inside * OPENNESS[one.vowel] * np.sin(np.pi * (place - one.start) / one.seconds) ** 2
    return total


def voice(face: Face, times: Samples) -> Samples:
    """The voice at each time, float64 in [-1, 1], one channel."""
    place, total = _within(face, times), np.zeros_like(times)
    for one in syllables(face):
        inside = (place >= one.start) & (place < one.start + one.seconds)
        total[inside] = _sung(one.vowel, one.pitch, times[inside])
    return VOLUME * total * openness(face, times)


def _within(face: Face, times: Samples) -> Samples:
    """Times within the saying that is on; negative before the first."""
    last = syllables(face)[-1]
    period = last.start + last.seconds + PAUSE_SECONDS
    after = times - LEAD_SECONDS
    return np.where(after < 0, -1.0, after % period)


def _sung(vowel: str, pitch: float, times: Samples) -> Samples:
    """Harmonics of `pitch`; their powers add up to that of a full sine."""
    frequencies = pitch * np.arange(1, HARMONICS + 1)
    first, second = (1 / (1 + ((frequencies - formant) / 120) ** 2) for formant in FORMANTS[vowel])
    weights = first + second + 0.05
    weights /= np.linalg.norm(weights)
    waves = np.sin(2 * np.pi * frequencies[:, None] * times + np.arange(HARMONICS)[:, None] ** 2)
    return np.asarray(weights @ waves)


def _vowel(text: str) -> str:
    return next((letter for letter in text if letter in "aoeiu"), "")


def _pitch(text: str, place: int, lowest: int) -> float:
    """By the tone's digit; without one, syllables go up and down in turn."""
    step = PITCHES[text[-1]] if text[-1].isdigit() else (place + 1) % 2
    return lowest + PITCH_STEP * step
