"""The small sound codec; satisfies AudioCodec and SoundEncoder of engine.codecs.base.

A latent says how loud each of 52 waves of fixed pitch is, how near a click is to each of four parts of its 1/25 s and
how loud, and on which side the sound of eight groups of pitches is. It keeps what the made world sounds like; of other
sound it keeps the melody and rhythm.

A click is a ramp up and down in the latents, ten parts to each side, and sounds where this is highest: a single high
number in time is what a network that is not quite sure of the moment never says, it says a little of it everywhere.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from engine.codecs.base import SAMPLES_PER_LATENT, SOUND_RATE
from engine.embedded.codecs.bands import (
    BANDS,
    CLICK_HZ,
    FAINT,
    HIGH_BANDS,
    LOW_BANDS,
    NUM_BANDS,
    NUM_SIDES,
    SIDE_LEVEL,
    SLOTS,
    groups,
    to_amplitude,
    to_latent,
)
from engine.resample import resample
from hhray.model_size import AUDIO_CHANNELS

WINDOW = 2 * SAMPLES_PER_LATENT  # a Hann window of two latents tells all multiples of 25 Hz exactly apart
SLOT = SAMPLES_PER_LATENT // SLOTS
CLICK_DECAY = 0.006  # seconds
RAMP = 10  # slots, from nothing to where a click is
BLUR = (1.0, 2.0, 3.0, 2.0, 1.0)  # over slots, before the highest is sought
BLURRED = 1 - 8 / 9 / RAMP  # what is left of a ramp's height
APART = 9  # slots: of clicks that are nearer, the louder one is heard
LEAST = 2.0  # latent, of a click
SEED = 52


class SpriteSoundCodec:
    """See the module's docstring."""

    def __init__(self) -> None:
        time = torch.arange(SAMPLES_PER_LATENT) / SAMPLES_PER_LATENT
        periods = torch.tensor(BANDS)[:, None] * SAMPLES_PER_LATENT / SOUND_RATE
        phase = torch.rand(NUM_BANDS, 1, generator=torch.Generator().manual_seed(SEED))
        # between the middles of two latents: half a latent later than the latents themselves
        waves = torch.sin(2 * math.pi * (periods * (time + 0.5) + phase))
        self._waves, self._fading, self._rising = waves, waves * (1 - time), waves * time
        self._burst = _burst()
        self._groups = groups()

    def encode(self, sound: Tensor, sample_rate: int, generator: Generator) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """float32 [C, N] in [-1, 1] at `sample_rate` Hz, C 1 or 2 -> float32 [64, A], 25 a second."""
        stereo = resample(sound.float().cpu().expand(2, -1), sample_rate, SOUND_RATE)
        num_latents = math.ceil(stereo.shape[1] / SAMPLES_PER_LATENT)
        stereo = F.pad(stereo, (0, num_latents * SAMPLES_PER_LATENT - stereo.shape[1]))
        powers = _band_powers(stereo)
        bands = to_latent((powers.sum(0) / 2).sqrt())
        slots = _high(stereo).square().mean(0).reshape(num_latents, SLOTS, SLOT).mean(2).sqrt()
        ramps = _ramps(to_latent(slots.flatten())).reshape(num_latents, SLOTS)
        return torch.cat([bands, ramps.T, self._sides(powers)])

    def decode(self, latent: Tensor) -> Tensor:
        """float32 [64, A] -> float32 stereo [2, 2048 A] in [-1, 1] at 51,200 Hz."""
        bands, slots, sides = torch.split(latent.float().cpu(), [NUM_BANDS, SLOTS, NUM_SIDES])
        place = (sides / SIDE_LEVEL).clamp(-1, 1)[self._groups]
        amplitudes = to_amplitude(bands)
        channels = [self._sung(amplitudes * (1 + side * place)) for side in (-1, 1)]
        noise = (to_amplitude(_tops(slots.T.flatten()))[:, None] * self._burst).flatten()
        return (torch.stack(channels) + noise).clamp(-1, 1)

    def _sides(self, powers: Tensor) -> Tensor:
        """Where each group's sound is: [8, A], from left to right, 0 in the middle and where there is hardly any."""
        grouped = torch.zeros(2, NUM_SIDES, powers.shape[2]).index_add_(1, self._groups, powers).sqrt()
        left, right = grouped
        sides: Tensor = SIDE_LEVEL * (right - left) / (left + right + FAINT)
        return sides

    def _sung(self, amplitudes: Tensor) -> Tensor:
        """One channel [2048 A] of waves whose amplitudes [52, A] are those in the middle of each latent."""
        before, after = amplitudes[:, :-1].T, amplitudes[:, 1:].T
        inner = (before @ self._fading + after @ self._rising).flatten()
        half = SAMPLES_PER_LATENT // 2
        start = amplitudes[:, 0] @ self._waves[:, half:]
        return torch.cat([start, inner, amplitudes[:, -1] @ self._waves[:, :half]])


def _ramps(slots: Tensor) -> Tensor:
    """Levels [4 A], each made a ramp up and down; the higher one where ramps meet."""
    share = 1 - torch.arange(-RAMP, RAMP + 1).abs() / RAMP
    near = F.pad(slots, (RAMP, RAMP)).unfold(0, 2 * RAMP + 1, 1)
    return (near * share).amax(1)


def _tops(ramps: Tensor) -> Tensor:
    """The inverse: levels where ramps [4 A] are highest, nothing elsewhere."""
    blur = torch.tensor(BLUR)
    padded = F.pad(ramps[None, None], (len(BLUR) // 2,) * 2, mode="replicate")
    smooth = F.conv1d(padded, (blur / blur.sum() / BLURRED)[None, None])
    first = smooth - 1e-4 * torch.arange(len(ramps))  # of equals
    highest = first == F.max_pool1d(first, 2 * APART + 1, 1, APART)
    tops: Tensor = torch.where(highest & (smooth > LEAST), smooth, 0)[0, 0]
    return tops


def _band_powers(stereo: Tensor) -> Tensor:
    """Squared amplitudes of stereo [2, 2048 A] in each band about the middle of each latent: [2, 52, A]."""
    half = SAMPLES_PER_LATENT // 2
    frames = F.pad(stereo, (half, half)).unfold(1, WINDOW, SAMPLES_PER_LATENT)
    spectrum = torch.fft.rfft(frames * torch.hann_window(WINDOW)).abs().mul(4 / WINDOW).square()
    bin_hz = SOUND_RATE / WINDOW
    low = spectrum[..., [round(band / bin_hz) for band in LOW_BANDS]]
    borders = [LOW_BANDS[-1] + 25, *((a + b) / 2 for a, b in pairwise(HIGH_BANDS)), 4050]
    places = [round(border / bin_hz) for border in borders]
    # a wave's power is spread over three bins, half as much again as in the middle one
    high = [spectrum[..., a:b].sum(-1) / 1.5 for a, b in pairwise(places)]
    return torch.cat([low, torch.stack(high, dim=-1)], dim=-1).transpose(1, 2)


def _high(sound: Tensor) -> Tensor:
    """What lies above the voices and tones."""
    spectrum = torch.fft.rfft(sound)
    spectrum[..., torch.fft.rfftfreq(sound.shape[-1], 1 / SOUND_RATE) < CLICK_HZ] = 0
    high: Tensor = torch.fft.irfft(spectrum, sound.shape[-1])
    return high


def _burst() -> Tensor:
    """High noise that dies away within a slot, of root mean square 1: float32 [2048 / 4]."""
    noise = _high(torch.randn(4 * SLOT, generator=torch.Generator().manual_seed(SEED)))[SLOT : 2 * SLOT]
    fading = noise * torch.exp(-torch.arange(SLOT) / SOUND_RATE / CLICK_DECAY)
    burst: Tensor = fading / fading.square().mean().sqrt()
    return burst


assert NUM_BANDS + SLOTS + NUM_SIDES == AUDIO_CHANNELS  # noqa: S101 - the table of bands is the channels
