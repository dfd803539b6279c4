"""Reads object fields from pixels: a small convolutional network over the four frames of a latent."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.embedded.codecs.fields import NUM_USED
from hhray.geometry import TEMPORAL_STRIDE

CHANNELS = 3 * TEMPORAL_STRIDE
WIDTHS = (48, 96, 128)  # at a fourth, an eighth and a sixteenth of the pixels' grid
DEPTH = 5  # blocks at the last: a cell sees as far as a face reaches


class Block(nn.Module):
    """Adds what the neighbours say."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, seen: Tensor) -> Tensor:
        return seen + cast(Tensor, self.near(F.silu(seen)))


class Reader(nn.Module):
    """float32 [N, 12, H, W] in [-1, 1], the colours of the first of four frames first -> [N, 28, H / 16, W / 16]."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.body = nn.Sequential(
            nn.Conv2d(CHANNELS, fine, 4, stride=4),
            Block(fine),
            nn.SiLU(),
            nn.Conv2d(fine, middle, 3, stride=2, padding=1),
            Block(middle),
            nn.SiLU(),
            nn.Conv2d(middle, coarse, 3, stride=2, padding=1),
            *(Block(coarse) for _ in range(DEPTH)),
            nn.SiLU(),
        )
        self.head = nn.Conv2d(coarse, NUM_USED, 1)

    def forward(self, frames: Tensor) -> Tensor:
        seen = self.body(frames).float()
        with torch.autocast(frames.device.type, enabled=False):  # what is said is finer than bfloat16
            said: Tensor = self.head(seen)
        return said
