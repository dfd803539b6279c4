"""Changes the sample rate of sound by a polyphase filter of windowed sincs.

With rates in the ratio L : M (lowest terms) an output sample lies at one of L phases between two input samples; each
phase has its own short filter, so only the samples that are wanted are computed (48 kHz from 51.2 kHz: L 15, M 16).
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

LOBES = 48  # of the sinc, on each side
CUTOFF = 0.94  # of the lower of the two Nyquist frequencies: flat to 0.88, below -80 dB from 1
KAISER_BETA = 9.0
CHUNK = 1 << 12  # output samples at a time: their neighbourhoods stay in the cache
MAX_TABLE = 1 << 23  # taps of all phases; odd rates need more, and their filters are made place by place


def resample(sound: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """The same sound at another rate; its length in seconds stays, to the nearest sample.

    Args:
        sound: float32 [C, N], on the CPU.
        from_rate, to_rate: in Hz.

    Returns:
        float32 [C, round(N * to_rate / from_rate)].
    """
    if from_rate == to_rate:
        return sound
    up, down = Fraction(to_rate, from_rate).as_integer_ratio()
    reach = math.ceil(LOBES / min(1.0, up / down))
    table = _phase_filters(torch.arange(up), up, down, reach) if up * 2 * reach <= MAX_TABLE else None
    num_outputs = round(sound.shape[1] * up / down)
    # output n lies between input samples n * down // up and the next one; the last may lie just past the end
    neighbours = F.pad(sound, (reach - 1, reach + 1)).unfold(1, 2 * reach, 1)
    parts = []
    for places in torch.split(torch.arange(num_outputs), CHUNK):
        position = places * down
        phases, place = position % up, position // up
        filters = _phase_filters(phases, up, down, reach) if table is None else table[phases]
        parts.append(torch.einsum("cnk,nk->cn", neighbours[:, place], filters))
    return torch.cat(parts, dim=1) if parts else sound[:, :0]


def _phase_filters(phases: Tensor, up: int, down: int, reach: int) -> Tensor:
    """The filters of some phases, float32 [P, 2 reach]: tap k weighs the input sample k - reach + 1 places later."""
    bandwidth = CUTOFF * min(1.0, up / down)
    taps = torch.arange(1 - reach, reach + 1, dtype=torch.float64)
    distance = taps - phases.double()[:, None] / up
    inside = (1 - (distance / reach) ** 2).clamp(min=0)
    window = torch.special.i0(KAISER_BETA * inside.sqrt()) / torch.special.i0(torch.tensor(KAISER_BETA).double())
    filters: Tensor = bandwidth * torch.sinc(bandwidth * distance) * window
    return filters.float()
