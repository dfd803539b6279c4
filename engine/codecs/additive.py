"""Stand-in for the audio codec: 64 fixed sinusoids, one per latent channel, whose loudness follows the latents.

Frequencies are multiples of the latent rate, so every latent spans whole periods and one table of waves serves all.
Loudness never falls to zero, so there is always sound; the sum of all amplitudes stays below 1, so it never clips.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.codecs.base import SAMPLES_PER_LATENT
from hhray.model_size import AUDIO_CHANNELS

LOWEST_PERIODS, PERIOD_STEP = 4, 2  # per latent: 100 Hz, then every 50 Hz
FLOOR = 0.2
PEAK = 0.9
SEED = 64


class AdditiveAudioCodec:
    """See the module's docstring; satisfies AudioCodec."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        periods = LOWEST_PERIODS + PERIOD_STEP * torch.arange(AUDIO_CHANNELS)
        phase = torch.rand(AUDIO_CHANNELS, 1, generator=generator)
        time = torch.arange(SAMPLES_PER_LATENT) / SAMPLES_PER_LATENT
        waves = torch.sin(2 * math.pi * (periods[:, None] * time + phase))
        self._fading, self._rising = waves * (1 - time), waves * time
        amplitudes = 1 / periods
        left = 0.2 + 0.8 * torch.rand(AUDIO_CHANNELS, generator=generator)
        self._pan = torch.stack([left, 1.2 - left]) * amplitudes * (PEAK / amplitudes.sum())

    def decode(self, latent: Tensor) -> Tensor:
        """[64, A] -> [2, 2048 A]; loudness runs linearly from one latent to the next."""
        loudness = FLOOR + (1 - FLOOR) * torch.sigmoid(2 * latent.float().cpu()).T
        following = torch.cat([loudness[1:], loudness[-1:]])
        channels = [(loudness * pan) @ self._fading + (following * pan) @ self._rising for pan in self._pan]
        return torch.stack(channels).flatten(1)
