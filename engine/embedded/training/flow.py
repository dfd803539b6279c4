"""Flow matching on video and audio tokens together.

x = (1 - sigma) x0 + sigma eps (Lipman et al. 2023, Liu et al. 2023). The published networks predict v = eps - x0. A
small one cannot: to say v it has to carry all of the noise, 112 numbers a token, through a residual of 176, and has
no room left to think; it learned shapes and colours, and after 1600 steps no motion. So it predicts x0 (Li & He
2025), whose loss is weighted as that of v, and v = (x - x0) / sigma. Spare channels of video latents have no target:
x0 is 0 there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from engine.embedded.codecs.fields import NUM_USED, OFFSETS
from engine.samplers.base import FIRST_LEVEL, SHIFT
from hhray.geometry import PATCH
from hhray.model_size import VIDEO_CHANNELS

FIRST_SHARE, FIRST_PART = 0.2, 0.08  # a share of the clips is in this part of the schedule, its noisiest
# What a centre moves within the four frames of a latent is a small part of its offset, and is learned last: without
# this weight slow things stood still for four frames and then leapt.
MOTION_WEIGHT = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Noised:
    """Video [B, 48, T, h, w] and audio [B, A, 64] on their way, and clean."""

    video: Tensor
    audio: Tensor
    clean_video: Tensor
    clean_audio: Tensor


def levels(count: int, generator: Generator) -> Tensor:
    """Noise levels float32 [count], spread evenly over the published schedule of shift 5, one in each equal part; some
    more of them where there is hardly anything but noise, since all that is decided is decided there."""
    even = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    first = round(FIRST_SHARE * count)
    even[:first] = 1 - FIRST_PART * torch.rand(first, generator=generator)
    even = even[torch.randperm(count, generator=generator)] * FIRST_LEVEL
    return SHIFT * even / (1 + (SHIFT - 1) * even)


def noised(video: Tensor, audio: Tensor, sigma: Tensor, generator: Generator) -> Noised:
    """Noise clean latents to levels `sigma` [B]."""
    noise = torch.randn(video.shape, generator=generator)
    clean = video
    heard = torch.randn(audio.shape, generator=generator)
    level = sigma[:, None, None]
    return Noised(
        clean + sigma[:, None, None, None, None] * (noise - clean),
        audio + level * (heard - audio),
        clean,
        audio,
    )


def to_tokens(video: Tensor) -> Tensor:
    """[B, 48, T, h, w] -> [B, V, 192], channel c * 4 + dy * 2 + dx, as engine.model.patch.patchify of each."""
    batch, channels, frames, height, width = video.shape
    patches = video.reshape(batch, channels, frames, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 3, 5, 1, 4, 6).reshape(batch, -1, channels * PATCH * PATCH)


def from_tokens(tokens: Tensor, like: Tensor) -> Tensor:
    """What the network says, [B, V, 192], channel (dy * 2 + dx) * 48 + c -> the shape of `like`, [B, 48, T, h, w]."""
    batch, channels, frames, height, width = like.shape
    patches = tokens.reshape(batch, frames, height // PATCH, width // PATCH, PATCH, PATCH, VIDEO_CHANNELS)
    return patches.permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, channels, frames, height, width)


def squared_errors(made: Tensor, clean: Tensor) -> Tensor:
    """What is wrong with video latents [B, 48, T, h, w]: float32 [B, 28, T, h, w], of the channels that are used; how a
    centre moves within a latent counts `MOTION_WEIGHT` times beside where it is."""
    wrong = (made - clean)[:, :NUM_USED]
    errors = wrong.square()
    places = torch.unflatten(wrong[:, OFFSETS], 1, (-1, 2))  # [B, 4 frames, x and y, T, h, w]
    moved = places - places.mean(dim=1, keepdim=True)
    errors[:, OFFSETS] += MOTION_WEIGHT * moved.square().flatten(1, 2)
    return errors


def spare_rows() -> Tensor:
    """Which of the 192 rows of the last video linear belong to spare channels: bool [192]."""
    channel = torch.arange(VIDEO_CHANNELS * PATCH * PATCH) % VIDEO_CHANNELS
    return channel >= NUM_USED
