"""Draws pixels from what is known of the thing at each: a small network, asked for every pixel on its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from engine.embedded.codecs.fields import KINDS, TEXTURES
from engine.embedded.world.palette import CELLS

WIDTH = 64
SHAPE_NUMBERS = len(KINDS) - 1
NEAR = 1.3  # radii; nothing of a thing is farther from its centre, along either axis
STEEPNESS = 4.0  # a logistic edge this steep, in pixels, is about as soft as a pixel is wide
LAYERS = 3  # painted over one another: the thing's own colour, white, ink
WHITE, INK = (0.96, 0.96, 0.96), (-0.804, -0.859, -0.827)
BAND_EDGE = 8.0  # how steep the waves are that tell the bands of a texture apart
TEXTURE_WIDTH = 12


class ShapeNetwork(nn.Module):
    """How much of a pixel the thing's colour, white, and ink cover.

    The distances it gives are in radii and are scaled to pixels, so that edges are as sharp at any size. All things are
    alike on the left and on the right.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4 + SHAPE_NUMBERS, WIDTH),
            nn.LeakyReLU(0.1),
            nn.Linear(WIDTH, WIDTH),
            nn.LeakyReLU(0.1),
            nn.Linear(WIDTH, WIDTH),
            nn.LeakyReLU(0.1),
            nn.Linear(WIDTH, LAYERS),
        )

    def forward(self, place: Tensor, radius: Tensor, shape: Tensor, mouth: Tensor) -> Tensor:
        """Logits float32 [N, 3] of the three coverages.

        Args:
            place: [N, 2], from the thing's centre, x and y, in radii.
            radius: [N], in pixels.
            shape: [N, 8], a point near a corner of engine.embedded.codecs.fields.simplex.
            mouth: [N], 0 closed to 1 open.
        """
        across, down = place[:, :1].abs(), place[:, 1:]
        given = torch.cat([across, down, torch.hypot(across, down), mouth[:, None], shape], dim=1)
        logits: Tensor = self.layers(given) * (STEEPNESS * radius[:, None])
        return logits


class TextureNetwork(nn.Module):
    """How much lighter or darker than its mean tone a background is at each place, for each texture."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, TEXTURE_WIDTH), nn.SiLU(), nn.Linear(TEXTURE_WIDTH, len(TEXTURES)), nn.Tanh()
        )
        self.depth = nn.Parameter(torch.full((len(TEXTURES), 3), 0.1))

    def forward(self, height: int, width: int) -> Tensor:
        """float32 [2, 3, height, width], to be added to tones in [-1, 1]."""
        rows, columns = (_wave(torch.arange(side), height) for side in (height, width))
        place = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        level: Tensor = self.layers(place.to(self.depth.dtype)).permute(2, 0, 1)
        return level[:, None] * self.depth[:, :, None, None]


class Drawer(nn.Module):
    """Both networks."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = ShapeNetwork()
        self.texture = TextureNetwork()

    def paint(self, behind: Tensor, colour: Tensor, logits: Tensor) -> Tensor:
        """Lay the thing over `behind` [N, 3]; `colour` [N, 3], both of [-1, 1]; `logits` [N, 3] of ShapeNetwork."""
        shares = torch.sigmoid(logits)
        pixels = behind
        for place, paint in enumerate((colour, _tone(WHITE, colour), _tone(INK, colour))):
            pixels = torch.lerp(pixels, paint, shares[:, place : place + 1])
        return pixels


def _tone(tone: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(tone, dtype=like.dtype, device=like.device).expand_as(like)


def _wave(pixels: Tensor, height: int) -> Tensor:
    """Nearly 1 in one band, nearly -1 in the next; a picture has CELLS bands to its height."""
    return torch.tanh(BAND_EDGE * torch.sin(math.pi * (pixels + 0.5) * CELLS / height))
