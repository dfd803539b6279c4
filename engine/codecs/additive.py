"""Stand-in for the audio codec: 64 fixed sinusoids, one per latent channel, whose loudness follows the latents.

Frequencies are multiples of the latent rate, so every latent spans whole periods and one table of waves serves all.
Loudness never falls to zero, so there is always sound; the sum of all amplitudes stays below 1, so it never clips.

Encoding finds how loud each of the 64 tones is where a latent begins and ends, whatever its phase: the tones, fading
and rising, that are together nearest to the sound.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Generator, Tensor

from engine.codecs.base import SAMPLES_PER_LATENT, SOUND_RATE
from engine.resample import resample
from hhray.errors import MediaError
from hhray.model_size import AUDIO_CHANNELS

LOWEST_PERIODS, PERIOD_STEP = 4, 2  # per latent: 100 Hz, then every 50 Hz
FLOOR = 0.2
PEAK = 0.9
SEED = 64
SURE = 1e-3  # loudness nearer than this to an end of its range is that far from it: latents stay within 3.5


class AdditiveAudioCodec:
    """See the module's docstring; satisfies AudioCodec and SoundEncoder."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        self._periods = periods = LOWEST_PERIODS + PERIOD_STEP * torch.arange(AUDIO_CHANNELS)
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

    def encode(self, sound: Tensor, sample_rate: int, generator: Generator) -> Tensor:  # noqa: ARG002 - draws nothing
        """[C, N] at `sample_rate` Hz -> [64, A], A = floor(N * 51,200 / sample_rate / 2048); mono is both speakers'.

        Raises:
            MediaError: the sound is shorter than one latent (1/25 s).
        """
        stereo = resample(sound.float().cpu(), sample_rate, SOUND_RATE).expand(2, -1)
        num_latents = stereo.shape[1] // SAMPLES_PER_LATENT
        if num_latents == 0:
            raise MediaError("UnsupportedFileFormat", "the sound is shorter than 1/25 s; send a longer one")
        windows = stereo[:, : num_latents * SAMPLES_PER_LATENT].reshape(2, num_latents, SAMPLES_PER_LATENT)
        parts = windows.transpose(0, 1).flatten(1) @ self._analysis.T
        begins, ends = parts.view(num_latents, 2, 2, AUDIO_CHANNELS).unbind(1)
        begins[1:] = (begins[1:] + ends[:-1]) / 2
        loudness = begins.square().sum(1).sqrt()
        share = ((loudness - FLOOR) / (1 - FLOOR)).clamp(SURE, 1 - SURE)
        return torch.logit(share).T / 2

    @cached_property
    def _analysis(self) -> Tensor:
        """[256, 4096]: a stereo window -> its parts: where it begins and ends x of either phase x 64 tones."""
        time = torch.arange(SAMPLES_PER_LATENT, dtype=torch.float64) / SAMPLES_PER_LATENT
        angle = 2 * math.pi * self._periods[:, None] * time
        waves = torch.stack([angle.sin(), angle.cos()])
        shapes = torch.stack([waves * (1 - time), waves * time])  # [2, 2, 64, 2048]
        heard = shapes[..., None, :] * self._pan.T.double()[:, :, None]
        tones: Tensor = heard.reshape(4 * AUDIO_CHANNELS, 2 * SAMPLES_PER_LATENT)
        analysis: Tensor = torch.linalg.pinv(tones.T)
        return analysis.float()
