"""The Oobleck sound codec of the diffusers library, run at 25 latents a second (model specification 4.4, 3.5).

Its files say 44,100 Hz, which would be 21.5 latents a second of 2048 samples. The network was trained with sound that
is played to it at 51,200 Hz instead, so what it decodes is sound at 51,200 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import remove_weight_norm

from engine.codecs.base import SAMPLES_PER_LATENT, SOUND_RATE
from engine.codecs.local_component import library, load_component
from engine.resample import resample
from hhray.errors import ConfigError, MediaError
from hhray.geometry import AUDIO_LATENTS_PER_SECOND
from hhray.model_size import AUDIO_CHANNELS

WHAT = "the Oobleck sound codec (folder vae/ of stabilityai/stable-audio-open-1.0)"
STEREO = 2
WINDOW_LATENTS = 29 * AUDIO_LATENTS_PER_SECOND
HOP_LATENTS = (WINDOW_LATENTS + 1) // 2  # rounded up, so that no latent lies in three windows
OVERLAP_LATENTS = WINDOW_LATENTS - HOP_LATENTS


class OobleckAudioCodec:
    """Satisfies AudioCodec and SoundEncoder; computes on the device and in the dtype of its weights."""

    def __init__(self, vae: Any) -> None:  # noqa: ANN401 - diffusers.AutoencoderOobleck, which has no types
        self._vae = vae

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """From a local folder in diffusers' layout.

        Raises:
            ConfigError: files are absent or damaged, or another codec lies there.
        """
        model_class = library("diffusers").AutoencoderOobleck
        vae = load_component(model_class, folder, WHAT, torch_dtype=dtype, low_cpu_mem_usage=False)
        found = (vae.config.decoder_input_channels, vae.hop_length, vae.config.audio_channels)
        if found != (AUDIO_CHANNELS, SAMPLES_PER_LATENT, STEREO):
            raise ConfigError(
                f"{WHAT}: the codec in {folder} has (channels, samples a latent, speakers) {found}, "
                f"not {(AUDIO_CHANNELS, SAMPLES_PER_LATENT, STEREO)}"
            )
        for part in vae.modules():
            # else every forward pass leaves a copy of the weights behind, on whatever device it ran
            if hasattr(part, "weight_g"):
                remove_weight_norm(part)
        return cls(vae.requires_grad_(False).to(device))

    @property
    def module(self) -> nn.Module:
        """The network, for whoever places its weights."""
        network: nn.Module = self._vae
        return network

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Tensor:
        """float32 [64, A] -> float32 stereo [2, 2048 A] in [-1, 1] at 51,200 Hz on the CPU."""
        sound: Tensor = self._vae.decode(self._placed(latent)).sample[0]
        return sound.float().clamp_(-1, 1).cpu()

    @torch.inference_mode()
    def encode(self, sound: Tensor, sample_rate: int, generator: Generator) -> Tensor:
        """A sample of the posterior of a sound that drives a clip.

        Args:
            sound: float32 [C, N] in [-1, 1]; mixed to mono, which both speakers then get.
            sample_rate: of the sound, in Hz.
            generator: draws the sample, window after window.

        Returns:
            float32 [64, A], A = floor(N * 51,200 / sample_rate / 2048).

        Raises:
            MediaError: the sound is shorter than one latent (1/25 s).
        """
        mono = resample(sound.float().mean(0, keepdim=True).cpu(), sample_rate, SOUND_RATE)
        num_latents = mono.shape[1] // SAMPLES_PER_LATENT
        if num_latents == 0:
            raise MediaError("UnsupportedFileFormat", "the sound is shorter than 1/25 s; send a longer one")
        stereo = mono[:, : num_latents * SAMPLES_PER_LATENT].expand(STEREO, -1)
        parts = []
        for start in window_starts(num_latents):
            piece = stereo[:, start * SAMPLES_PER_LATENT : (start + WINDOW_LATENTS) * SAMPLES_PER_LATENT]
            posterior = self._vae.encode(self._placed(piece)).latent_dist
            parts.append(posterior.sample(generator=generator)[0].float())
        return cross_faded(parts, OVERLAP_LATENTS)

    def _placed(self, values: Tensor) -> Tensor:
        return values[None].to(self._vae.device, self._vae.dtype)


def window_starts(num_latents: int) -> range:
    """First latents of the windows of a sound: one for 29 s or less, else every half window until the end is seen."""
    return range(0, max(num_latents - OVERLAP_LATENTS, 1), HOP_LATENTS)


def cross_faded(parts: Sequence[Tensor], overlap: int) -> Tensor:
    """Windows [C, A_k] that share `overlap` latents with the next one, joined with linear weights there: [C, A]."""
    whole = parts[0]
    for part in parts[1:]:
        rising = torch.linspace(0, 1, overlap, device=part.device)
        shared = torch.lerp(whole[:, -overlap:], part[:, :overlap], rising)
        whole = torch.cat([whole[:, :-overlap], shared, part[:, overlap:]], dim=1)
    return whole
