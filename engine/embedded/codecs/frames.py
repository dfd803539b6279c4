"""Frames from object fields: an empty picture, and over it the pixels of the cells that say there is something."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from engine.embedded.codecs.agreement import Said, agreed, mouth_before
from engine.embedded.codecs.backdrop import Backdrop
from engine.embedded.codecs.drawing import NEAR, Drawer
from engine.embedded.codecs.kinds import decided
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE

LEAST_RADIUS = 0.1  # cells
PIXELS_AT_ONCE = 1 << 16


def draw(drawer: Drawer, latent: Tensor) -> Tensor:
    """float32 [48, T, h, w] -> uint8 [4 (T - 1) + 1, 16 h, 16 w, 3]."""
    backdrop = Backdrop(latent, drawer.texture)
    all_said = agreed(latent)
    frames = []
    for time, said in enumerate(all_said):
        empty = backdrop.at(time)
        mouths = _mouths(said, all_said[time - 1]) if time else said.mouth[:, :1].expand(-1, TEMPORAL_STRIDE)
        # the first latent is one frame, given four times
        for frame in range(TEMPORAL_STRIDE) if time else (TEMPORAL_STRIDE - 1,):
            picture = empty.clone()
            _draw_things(drawer, picture, said, frame, mouths[:, frame])
            frames.append(picture.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8))
    return torch.stack(frames)


def _mouths(said: Said, before: Said) -> Tensor:
    """How far mouths are open in each of the four frames: [K, 4]; the first and the third lie between what is said."""
    last, second, fourth = mouth_before(said, before), said.mouth[:, 0], said.mouth[:, 1]
    return torch.stack([(last + second) / 2, second, (second + fourth) / 2, fourth], dim=1).clamp(0, 1)


def _draw_things(drawer: Drawer, picture: Tensor, said: Said, frame: int, mouth: Tensor) -> None:
    """Paint over `picture` [H, W, 3], in [-1, 1]."""
    width = picture.shape[1]
    flat = picture.view(-1, 3)
    side = torch.arange(SPATIAL_STRIDE)
    inner = (torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).reshape(-1, 2) + 0.5) / SPATIAL_STRIDE
    radius = said.radius.clamp(min=LEAST_RADIUS)
    corner = said.cell.flip(1)  # x, y
    place = (corner[:, None] + inner - said.centre[:, frame, None]) / radius[:, None, None]
    cells, pixels = torch.nonzero(place.abs().amax(dim=2) < NEAR, as_tuple=True)
    shape = decided(said.shape)
    row, column = (said.cell[cells] * SPATIAL_STRIDE + torch.stack([pixels // 16, pixels % 16], dim=1)).T
    target = row * width + column
    for part in _parts(len(cells)):
        which, at = cells[part], target[part]
        logits = drawer.shape(place[which, pixels[part]], radius[which] * SPATIAL_STRIDE, shape[which], mouth[which])
        flat[at] = drawer.paint(flat[at], said.colour[which].clamp(-1, 1), logits)


def _parts(count: int) -> Iterator[slice]:
    return (slice(first, first + PIXELS_AT_ONCE) for first in range(0, count, PIXELS_AT_ONCE))
