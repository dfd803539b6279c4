"""The network behind the linear decoder: it looks at neighbouring blocks and draws the edges they share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE
from hhray.model_size import VIDEO_CHANNELS

WIDTH = 160
FINE = 24  # channels at a quarter of the size
CELL = 4
TIME_REACH = 3  # latent frames on either side that a frame depends on


class Refiner(nn.Module):
    """Latents [B, 48, T, h, w] -> what is to be added to the linear decoding, [B, 3, 4 T, 16 h, 16 w]."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Conv3d(VIDEO_CHANNELS, WIDTH, (3, 3, 3), padding=(1, 1, 1))
        self.mix = nn.ModuleList(
            nn.Conv3d(WIDTH, WIDTH, (2 * time + 1, 2 * space + 1, 2 * space + 1), padding=(time, space, space))
            for time, space in ((0, 1), (1, 0), (0, 1), (1, 0))
        )
        side = SPATIAL_STRIDE // CELL
        self.spread = nn.Conv3d(WIDTH, FINE * TEMPORAL_STRIDE * side**2, 1)
        self.draw = nn.Conv2d(FINE, 2 * FINE, 3, padding=1)
        self.paint = nn.Conv2d(2 * FINE, 3 * CELL**2, 3, padding=1)
        nn.init.zeros_(self.paint.weight)
        nn.init.zeros_(self.paint.bias)  # type: ignore[arg-type]

    def forward(self, latent: Tensor) -> Tensor:
        batch, _, num_latents, height, width = latent.shape
        hidden = self.read(latent)
        for mix in self.mix:
            hidden = hidden + mix(F.silu(hidden))
        spread = self.spread(F.silu(hidden)).reshape(batch, TEMPORAL_STRIDE, -1, num_latents, height, width)
        each = spread.permute(0, 3, 1, 2, 4, 5).flatten(0, 2)
        fine = F.pixel_shuffle(each, SPATIAL_STRIDE // CELL)
        fine = self.draw(F.silu(fine))
        pixels = F.pixel_shuffle(self.paint(F.silu(fine)), CELL)
        return pixels.reshape(batch, num_latents * TEMPORAL_STRIDE, *pixels.shape[1:]).transpose(1, 2)


def linear_frames(blocks: Tensor) -> Tensor:
    """Blocks [B, T, h, w, 3072] -> all their frames [B, 3, 4 T, 16 h, 16 w], those of the first block too."""
    batch, num_blocks, rows, columns, _ = blocks.shape
    cut = blocks.reshape(batch, num_blocks, rows, columns, 3, TEMPORAL_STRIDE, SPATIAL_STRIDE, SPATIAL_STRIDE)
    whole = cut.permute(0, 4, 1, 5, 2, 6, 3, 7)
    return torch.reshape(whole, (batch, 3, -1, rows * SPATIAL_STRIDE, columns * SPATIAL_STRIDE))
