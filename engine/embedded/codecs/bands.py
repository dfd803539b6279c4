"""What the 64 channels of the small sound codec mean, and how loudness becomes a latent."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.codecs.base import SAMPLES_PER_LATENT, SOUND_RATE
from engine.embedded.world.sound import TONES

STEP_HZ = SOUND_RATE // SAMPLES_PER_LATENT  # 25: waves of its multiples fit whole into each latent
LOW_BANDS = tuple(range(100, 925, STEP_HZ))
HIGH_BANDS = (
    *(975, 1050, 1125, 1225, 1325, 1425, 1550, 1675, 1800, 1950),
    *(2100, 2275, 2450, 2650, 2850, 3075, 3325, 3600, 3900),
)
BANDS = LOW_BANDS + HIGH_BANDS
NUM_BANDS = len(BANDS)
SLOTS = 4  # parts of a latent in which a click can be
CLICK_HZ = 4500
NUM_SIDES = len(TONES)  # groups of bands, one about each tone of the world, that have a place of their own

LEVEL = 11.0  # a latent is this times the cube root of an amplitude: silence stays silent when a latent is a little off
SIDE_LEVEL = 6.0
FAINT = 0.01  # sound much fainter than this has no place


def groups() -> Tensor:
    """The group of each band, int64 [52]; borders are half-way between tones."""
    tones = torch.tensor(sorted(TONES.values()), dtype=torch.float32)
    borders = (tones[:-1] * tones[1:]).sqrt()
    return torch.bucketize(torch.tensor(BANDS, dtype=torch.float32), borders)


def to_latent(amplitude: Tensor) -> Tensor:
    """Amplitudes, at least 0, to latents."""
    return LEVEL * amplitude ** (1 / 3)


def to_amplitude(latent: Tensor) -> Tensor:
    """The inverse; negative latents are silence, and nothing is louder than a full wave."""
    return (latent.clamp(min=0) / LEVEL).clamp(max=1) ** 3
