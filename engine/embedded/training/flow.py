"""Flow matching on video and audio tokens together.

x = (1 - sigma) x0 + sigma eps, and the network learns v = eps - x0 (Lipman et al. 2023, Liu et al. 2023), as the
published weights do. Two things are particular:

- Noise and data are coupled. A scene is free in up to four numbers (where its things begin). They are written into
  the noise: its mean over five spare channels, a normal number of its own, is made the quantile of the free number.
  All noise is still normal, but which scene it leads to is now a function of it, so even the first of few steps need
  not average over all beginnings. (Any coupling is a valid flow: Tong et al. 2024.)
- The spare channels have no target: their velocity is held at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from engine.embedded.codecs.fields import NUM_USED, SPARE
from engine.embedded.training.examples import NUM_CHOICES
from engine.samplers.base import FIRST_LEVEL, SHIFT
from hhray.geometry import PATCH
from hhray.model_size import VIDEO_CHANNELS

CHANNELS_A_CHOICE = (SPARE.stop - SPARE.start) // NUM_CHOICES
FIRST_SHARE, FIRST_PART = 0.2, 0.08  # a share of the clips is in this part of the schedule, its noisiest
SURE_LEVEL, FREE_LEVEL = 0.985, 0.25  # noisier than the first: always coupled; else this share of the time


@dataclass(frozen=True, slots=True, eq=False)
class Noised:
    """Video [B, 48, T, h, w] and audio [B, A, 64] on their way, and the velocities to be learned."""

    video: Tensor
    audio: Tensor
    video_velocity: Tensor
    audio_velocity: Tensor


def levels(count: int, generator: Generator) -> Tensor:
    """Noise levels float32 [count], spread evenly over the published schedule of shift 5, one in each equal part; some
    more of them where there is hardly anything but noise, since all that is decided is decided there."""
    even = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    first = round(FIRST_SHARE * count)
    even[:first] = 1 - FIRST_PART * torch.rand(first, generator=generator)
    even = even[torch.randperm(count, generator=generator)] * FIRST_LEVEL
    return SHIFT * even / (1 + (SHIFT - 1) * even)


def couple(noise: Tensor, choices: Tensor) -> Tensor:
    """Noise [B, 48, T, h, w] whose means over the spare channels say `choices` [B, 4]."""
    spare = torch.unflatten(noise[:, SPARE], 1, (NUM_CHOICES, CHANNELS_A_CHOICE))
    root = spare[0, 0].numel() ** 0.5
    now = spare.flatten(2).sum(2) / root
    shifted = spare + ((choices - now) / root)[:, :, None, None, None, None]
    return torch.cat([noise[:, :NUM_USED], shifted.flatten(1, 2)], dim=1)


def noised(
    video: Tensor, audio: Tensor, choices: Tensor, sigma: Tensor, generator: Generator, free: Tensor | None = None
) -> Noised:
    """Noise clean latents to levels `sigma` [B]; of clips that are not `free` (bool [B]) noise and choices go apart."""
    noise = torch.randn(video.shape, generator=generator)
    coupled = (sigma > SURE_LEVEL) | (torch.rand(len(sigma), generator=generator) < FREE_LEVEL)
    coupled = coupled if free is None else coupled & free
    noise = torch.where(coupled[:, None, None, None, None], couple(noise, choices), noise)
    # the spare channels of what is sampled are noise throughout
    clean = torch.cat([video[:, :NUM_USED], torch.randn(noise[:, SPARE].shape, generator=generator)], dim=1)
    heard = torch.randn(audio.shape, generator=generator)
    level = sigma[:, None, None]
    return Noised(
        clean + sigma[:, None, None, None, None] * (noise - clean),
        audio + level * (heard - audio),
        noise - clean,
        heard - audio,
    )


def to_tokens(video: Tensor) -> Tensor:
    """[B, 48, T, h, w] -> [B, V, 192], channel c * 4 + dy * 2 + dx, as engine.model.patch.patchify of each."""
    batch, channels, frames, height, width = video.shape
    patches = video.reshape(batch, channels, frames, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 3, 5, 1, 4, 6).reshape(batch, -1, channels * PATCH * PATCH)


def from_tokens(tokens: Tensor, like: Tensor) -> Tensor:
    """Velocities [B, V, 192], channel (dy * 2 + dx) * 48 + c -> the shape of `like`, [B, 48, T, h, w]."""
    batch, channels, frames, height, width = like.shape
    patches = tokens.reshape(batch, frames, height // PATCH, width // PATCH, PATCH, PATCH, VIDEO_CHANNELS)
    return patches.permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, channels, frames, height, width)


def spare_rows() -> Tensor:
    """Which of the 192 rows of the last video linear belong to spare channels: bool [192]."""
    channel = torch.arange(VIDEO_CHANNELS * PATCH * PATCH) % VIDEO_CHANNELS
    return channel >= NUM_USED
