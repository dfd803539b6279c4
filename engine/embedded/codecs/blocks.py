"""Video cut into blocks of 4 x 16 x 16 pixels, and the projection of a block onto 48 numbers.

The first block holds one frame, four times: so a still picture has the latents of a video that stands still.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE
from hhray.model_size import VIDEO_CHANNELS

BLOCK = 3 * TEMPORAL_STRIDE * SPATIAL_STRIDE**2


def blocks_of(video: Tensor) -> Tensor:
    """float32 [3, 4 (T - 1) + 1, H, W] -> [T, h, w, 3072]."""
    channels, _, height, width = video.shape
    filled = torch.cat([video[:, :1].expand(-1, TEMPORAL_STRIDE - 1, -1, -1), video], dim=1)
    rows, columns = height // SPATIAL_STRIDE, width // SPATIAL_STRIDE
    cut = filled.reshape(channels, -1, TEMPORAL_STRIDE, rows, SPATIAL_STRIDE, columns, SPATIAL_STRIDE)
    return cut.permute(1, 3, 5, 0, 2, 4, 6).flatten(3)


def video_of(blocks: Tensor) -> Tensor:
    """The inverse: [T, h, w, 3072] -> [3, 4 (T - 1) + 1, H, W]; of the first block its last frame."""
    num_blocks, rows, columns, _ = blocks.shape
    cut = blocks.reshape(num_blocks, rows, columns, 3, TEMPORAL_STRIDE, SPATIAL_STRIDE, SPATIAL_STRIDE)
    whole = cut.permute(3, 0, 4, 1, 5, 2, 6)
    return whole.reshape(3, -1, rows * SPATIAL_STRIDE, columns * SPATIAL_STRIDE)[:, TEMPORAL_STRIDE - 1 :]


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Orthonormal directions that tell blocks of the made world apart, and how much each matters.

    `mean` float32 [3072], `directions` float32 [48, 3072] of length 1, `scales` float32 [48]: a latent is what lies
    along a direction, over its scale.
    """

    mean: Tensor
    directions: Tensor
    scales: Tensor

    def encode(self, video: Tensor) -> Tensor:
        """float32 [3, F, H, W] in [-1, 1] -> [48, T, h, w]."""
        latent = (blocks_of(video) - self.mean) @ self.directions.T / self.scales
        return latent.permute(3, 0, 1, 2)

    def decode(self, latent: Tensor) -> Tensor:
        """[48, T, h, w] -> blocks [T, h, w, 3072]: the best that is linear."""
        return (latent.permute(1, 2, 3, 0) * self.scales) @ self.directions + self.mean


def axes(latent_covariance: Tensor, evenness: float) -> tuple[Tensor, Tensor]:
    """Rotation and scales of latents that lie along orthonormal directions and have this covariance [48, 48].

    Rotated, they are independent, the largest first. With `evenness` 1 the scales make every variance 1; below, what
    matters less is smaller, and the mean variance is 1.

    Returns:
        float64 [48, 48], whose rows are the new axes, and [48].
    """
    variances, rows = torch.linalg.eigh(latent_covariance)
    deviations = variances.flip(0).sqrt()
    shown = deviations ** (1 - evenness)
    return rows.flip(1).T, deviations / shown * shown.square().mean().sqrt()


def principal_directions(covariance: Tensor) -> Tensor:
    """The directions float64 [48, 3072] in which blocks of this covariance differ most, largest first."""
    _, directions = torch.linalg.eigh(covariance)
    found = directions.flip(1)[:, :VIDEO_CHANNELS].T
    directed: Tensor = found * found.sum(1, keepdim=True).sign()  # an eigenvector's sign is any solver's choice
    return directed
