"""Positions of tokens and the rotary tables made of them (model specification 1.5).

A token carries nine numbers: its position (t, h, w), the size of its own grid (T, H, W) and a reference size. A
position is centred in space, then scaled by (reference - 1) / (size - 1) on each axis.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import torch
from torch import Tensor

from engine.model.stream import ItemShape, SegmentShape, Triple


class CoordinateStyle(StrEnum):
    """V2: the base network, text not rotated. V1: the super-resolution network, text spread over [0, 1]."""

    V1 = "v1"
    V2 = "v2"


def item_coordinates(shape: ItemShape, style: CoordinateStyle) -> Tensor:
    """The raw coordinates of one item's tokens: float32 [S, 9], columns t, h, w, T, H, W, rT, rH, rW."""
    video, audio, text, *conditions = shape.segments
    frames, num_latents, num_texts = shape.grid.frames, shape.audio_latents, shape.text_tokens
    if style is CoordinateStyle.V2:
        audio_reference, text_reference, text_offset = (num_latents - 1) // 4 + 1, 1, -num_texts
    else:
        audio_reference, text_reference, text_offset = frames, 2, 0
    return torch.cat(
        [
            _segment(video),
            _segment(audio, (audio_reference, 1, 1)),
            _segment(replace(text, offset=(text_offset, 0, 0)), (text_reference, 1, 1)),
            *(_segment(condition) for condition in conditions),
        ]
    )


def rotary_tables(coordinates: Tensor, bands: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each float32 [S, 3 n] in axis order t, h, w, of coordinates [S, 9] and frequencies [n]."""
    position, size, reference = torch.split(coordinates.float(), 3, dim=1)
    middle = (size - 1) / 2
    middle[:, 0] = 0
    scale = torch.where(size == 1, 1.0, (reference - 1) / (size - 1).clamp(min=1))
    angles = ((position - middle) * scale)[:, :, None] * bands.float()
    flat = angles.flatten(1)
    return flat.cos(), flat.sin()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate the first 6 n channels of heads x [S, heads, D] by tables [S, 3 n], half against half; the rest passes."""
    half = cosines.shape[1]
    first, second, rest = torch.split(x, [half, half, x.shape[2] - 2 * half], dim=2)
    cos, sin = cosines[:, None], sines[:, None]
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=2)


def _segment(segment: SegmentShape, reference: Triple | None = None) -> Tensor:
    axes = [torch.arange(length, dtype=torch.float32) for length in segment.grid]
    positions = torch.cartesian_prod(*axes) + torch.tensor(segment.offset, dtype=torch.float32)
    extent = segment.extent or segment.grid
    sizes = torch.tensor([*extent, *(reference or extent)], dtype=torch.float32)
    return torch.cat([positions, sizes.expand(len(positions), 6)], dim=1)
