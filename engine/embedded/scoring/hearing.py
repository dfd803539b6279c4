"""What is heard: which tones, when clicks begin, how loud it is from frame to frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.embedded.scoring.clip_file import SOUND_RATE
from engine.embedded.world.sound import TONES
from hhray.geometry import FRAMES_PER_SECOND

Sound = NDArray[np.float32]

SILENCE = 0.006  # root mean square
NEAR_HZ = 10.0  # a tone's power is gathered this far around it
LOW_HZ, HIGH_HZ = 120.0, 1400.0
SECOND_TONE = 0.22  # of the loudest tone's amplitude
CLICK_HZ = 5000.0  # tones and voices end below
HOP = SOUND_RATE // 200
CLICK_LEVEL = 0.02  # root mean square of a hop
CLICK_APART = 0.06  # seconds


def tones(sound: Sound) -> set[str]:
    """Shapes whose tones are heard in [2, N] at 48 kHz: none in silence, "" where the loudest tone is no shape's."""
    mono = sound.mean(axis=0)
    if np.sqrt(np.mean(np.square(mono))) < SILENCE:
        return set()
    power = np.square(np.abs(np.fft.rfft(mono * np.hanning(len(mono)))))
    frequencies = np.fft.rfftfreq(len(mono), 1 / SOUND_RATE)
    audible = (frequencies > LOW_HZ) & (frequencies < HIGH_HZ)
    peak = frequencies[audible][power[audible].argmax()]
    if min(abs(peak - tone) for tone in TONES.values()) > NEAR_HZ:
        return {""}
    heard = {name: float(np.sqrt(power[np.abs(frequencies - tone) < NEAR_HZ].sum())) for name, tone in TONES.items()}
    return {name for name, loudness in heard.items() if loudness > SECOND_TONE * max(heard.values())}


def clicks(sound: Sound) -> NDArray[np.float64]:
    """Times in seconds at which clicks begin."""
    spectrum = np.fft.rfft(sound.mean(axis=0))
    spectrum[np.fft.rfftfreq(sound.shape[1], 1 / SOUND_RATE) < CLICK_HZ] = 0
    high = np.fft.irfft(spectrum, sound.shape[1])
    hops = high[: len(high) // HOP * HOP].reshape(-1, HOP)
    level = np.sqrt(np.square(hops).mean(axis=1))
    starts: list[float] = []
    for place in np.flatnonzero(level > CLICK_LEVEL):
        if level[place] >= 0.3 * level[place : place + 10].max():
            time = place * HOP / SOUND_RATE
            if not starts or time - starts[-1] > CLICK_APART:
                starts.append(time)
    return np.array(starts)


def loudness(sound: Sound, num_frames: int) -> NDArray[np.float64]:
    """Root mean square of the 1/25 s about the time of each frame: float64 [num_frames]."""
    each = SOUND_RATE // FRAMES_PER_SECOND
    square = np.square(sound.astype(np.float64)).mean(axis=0)
    framed = np.pad(square, (each // 2, each))[: num_frames * each]
    framed = np.pad(framed, (0, num_frames * each - len(framed)))
    return np.asarray(np.sqrt(framed.reshape(num_frames, each).mean(axis=1)))
