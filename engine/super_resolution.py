"""From a base clip's latents to the input of the super-resolution network (model specification 3.4).

The enlarged base latent is noised as far as level 220 of a zero-terminal-SNR table and then denoised by five UniPC
steps as if it were pure noise. Audio only accompanies: the network hears a noised copy that is held, and what is
decoded in the end is the clean base audio.
"""

from __future__ import annotations

import math
from itertools import accumulate
from operator import mul

import torch.nn.functional as F
from torch import Tensor

from engine.denoiser import ClipInput
from engine.samplers.base import Draw
from hhray.geometry import LatentGrid

NUM_STEPS = 5
NOISE_LEVEL = 220
AUDIO_NOISE = 0.7
NUM_LEVELS = 1000
FIRST_BETA, LAST_BETA = 0.00085, 0.012


def signal_levels() -> tuple[float, ...]:
    """What remains of a signal at each of 1000 levels, rescaled so that the last leaves nothing."""
    first, last = math.sqrt(FIRST_BETA), math.sqrt(LAST_BETA)
    betas = [(first + (last - first) * level / (NUM_LEVELS - 1)) ** 2 for level in range(NUM_LEVELS)]
    kept = [math.sqrt(product) for product in accumulate((1 - beta for beta in betas), mul)]
    return tuple((value - kept[-1]) * kept[0] / (kept[0] - kept[-1]) for value in kept)


def enlarged(video: Tensor, grid: LatentGrid) -> Tensor:
    """Latent [48, T, h, w] at the size of `grid`: trilinear, corners on corners."""
    size = (grid.frames, grid.height, grid.width)
    return F.interpolate(video[None], size=size, mode="trilinear", align_corners=True)[0]


def super_resolution_input(
    video: Tensor, audio: Tensor, grid: LatentGrid, text: Tensor, draw: Draw, first_frame: Tensor | None = None
) -> ClipInput:
    """What the super-resolution network starts from; noise is drawn for video, then audio.

    Args:
        video: the base clip's final latent, float32 [48, T, h, w].
        audio: its final audio latents, float32 [A, 64].
        grid: the latent size to make.
        text: the same text features, float32 [X, text channels].
        draw: the request's noise; the source of the base stage continues.
        first_frame: the picture encoded at this size, float32 [48, 1, H, W], held as latent frame 0.
    """
    signal = signal_levels()[NOISE_LEVEL]
    up = enlarged(video, grid)
    noised = signal * up + math.sqrt(1 - signal**2) * draw(tuple(up.shape))
    heard = AUDIO_NOISE * draw(tuple(audio.shape)) + (1 - AUDIO_NOISE) * audio
    return ClipInput(grid, len(audio), text, draw, first_frame, video=noised, audio=heard)
