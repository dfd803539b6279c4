"""A closer look at what the reader found: each thing is cut out at one size, which makes its shape easy to tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.embedded.codecs.agreement import SAME_PLACE, Said, agreed, same
from engine.embedded.codecs.fields import KINDS, Code, lay
from engine.embedded.codecs.kinds import decided
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE

SIDE = 24  # pixels of a cut
REACH = 1.4  # radii on either side of the centre that it shows
LOOKS = 2  # the second is cut where the first found the thing
MOST_SHIFT, MOST_GROWTH = 0.5, 0.4  # of one look
WIDTHS = (24, 40, 96)
SPLIT = (2, 1, 3, len(KINDS) - 1, 1)  # numbers that are told: shift, growth, colour, shape, mouth


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What N cuts tell.

    Attributes:
        shift: [N, 2], from the middle of the cut to the thing's centre, in the radii it was cut at.
        growth: [N], natural logarithm of the thing's radius over that.
        colour: [N, 3] in [-1, 1].
        shape: [N, 8].
        mouth: [N] of 0 to 1.
    """

    shift: Tensor
    growth: Tensor
    colour: Tensor
    shape: Tensor
    mouth: Tensor


class Looker(nn.Module):
    """Cuts float32 [N, 3, 24, 24] of [-1, 1] -> Look."""

    def __init__(self) -> None:
        super().__init__()
        first, second, hidden = WIDTHS
        self.layers = nn.Sequential(
            nn.Conv2d(3, first, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(first, second, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(second * (SIDE // 4) ** 2, hidden),
            nn.SiLU(),
            nn.Linear(hidden, sum(SPLIT)),
        )

    def forward(self, cuts: Tensor) -> Look:
        shift, growth, colour, shape, mouth = self.layers(cuts).split(SPLIT, dim=1)
        return Look(shift, growth[:, 0], colour, shape, mouth[:, 0])


def cut(pictures: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    """What lies within REACH radii of a point of each picture, as [N, 3, 24, 24].

    Args:
        pictures: [N, 3, H, W].
        centre: [N, 2], x and y in pixels; radius: [N] in pixels.
    """
    height, width = pictures.shape[2:]
    steps = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1) * REACH
    places = centre[:, None, None] + grid * radius[:, None, None, None]
    shares = places / torch.tensor([width, height]) * 2 - 1
    return F.grid_sample(pictures, shares, mode="bilinear", padding_mode="border", align_corners=False)


def look_closer(looker: Looker, latent: Tensor, stacks: Tensor) -> None:
    """Say of the things in `latent` what a closer look tells, in place.

    Args:
        latent: float32 [48, T, h, w], what the reader said.
        stacks: float32 [T, 4, 3, H, W], the pictures of each latent.
    """
    for time, said in enumerate(agreed(latent)):
        # the first of the cells that say the same speaks for all
        alike = same(said, said, SAME_PLACE) > 0.5
        things = said.taken(alike.float().argmax(dim=1).unique()) if len(alike) else said
        for _ in range(LOOKS if len(alike) else 0):
            things = _looked_at(looker, things, stacks[time])
        lay(latent[:, time : time + 1].numpy(), _codes(things))


def _looked_at(looker: Looker, things: Said, pictures: Tensor) -> Said:
    """K things after a look at each in each of four pictures."""
    count, radius = len(things.presence), things.radius.clamp(min=0.25)
    each = radius.repeat_interleave(TEMPORAL_STRIDE)
    cuts = cut(pictures.repeat(count, 1, 1, 1), SPATIAL_STRIDE * things.centre.reshape(-1, 2), SPATIAL_STRIDE * each)
    told = looker(cuts)
    shift = (each[:, None] * told.shift.clamp(-MOST_SHIFT, MOST_SHIFT)).reshape(count, TEMPORAL_STRIDE, 2)
    growth, mouth = (values.reshape(count, TEMPORAL_STRIDE) for values in (told.growth, told.mouth))
    colour, shape = (values.reshape(count, TEMPORAL_STRIDE, -1).mean(dim=1) for values in (told.colour, told.shape))
    return replace(
        things,
        centre=things.centre + shift,
        radius=radius * growth.mean(dim=1).clamp(-MOST_GROWTH, MOST_GROWTH).exp(),
        colour=colour,
        shape=decided(shape),
        mouth=mouth[:, 1::2],
    )


def _codes(things: Said) -> list[Code]:
    """For one latent."""
    centres = SPATIAL_STRIDE * things.centre.numpy().astype(np.float64)
    radii = SPATIAL_STRIDE * things.radius.numpy().astype(np.float64)
    rest = (things.colour.numpy(), things.shape.numpy(), things.mouth.numpy().astype(np.float64))
    return [
        Code(centre[None], radius[None], colour, shape, mouth[None])
        for centre, radius, colour, shape, mouth in zip(centres, radii, *rest, strict=True)
    ]
