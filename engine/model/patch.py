"""Latents to tokens and back. The two directions order channels differently (model specification 2.3)."""

from __future__ import annotations

from torch import Tensor

from hhray.geometry import PATCH, LatentGrid
from hhray.model_size import VIDEO_CHANNELS


def patchify(latent: Tensor) -> Tensor:
    """Latent [48, T, h, w] -> tokens [V, 192], channel c * 4 + dy * 2 + dx, raster over (t, row, column)."""
    channels, frames, height, width = latent.shape
    patches = latent.reshape(channels, frames, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(1, 2, 4, 0, 3, 5).reshape(-1, channels * PATCH * PATCH)


def unpatchify(tokens: Tensor, grid: LatentGrid) -> Tensor:
    """Velocities [V, 192], channel (dy * 2 + dx) * 48 + c -> latent [48, T, h, w]."""
    patches = tokens.reshape(grid.frames, grid.rows, grid.columns, PATCH, PATCH, VIDEO_CHANNELS)
    return patches.permute(5, 0, 1, 3, 2, 4).reshape(VIDEO_CHANNELS, grid.frames, grid.height, grid.width)
