"""A closer look at what the reader found: each thing is cut out at one size, which makes its shape easy to tell."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.embedded.codecs.agreement import SAME_PLACE, Said, agreed, same
from engine.embedded.codecs.fields import KINDS, Code, lay, sub_frames
from engine.embedded.codecs.kinds import decided
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE

SIDE = 24  # pixels of a cut
REACH = 1.4  # radii on either side of the centre that it shows
LOOKS = 2  # the second is cut where the first found the thing
MOST_THINGS = 8  # in one latent; pictures of something else may seem to hold any number
LEAST_RADIUS = 0.25  # cells
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
    """What lies within REACH radii of M points of each of P pictures, as [P * M, 3, 24, 24].

    Args:
        pictures: [P, 3, H, W].
        centre: [P, M, 2], x and y in pixels; radius: [P, M] in pixels.
    """
    height, width = pictures.shape[2:]
    steps = ((torch.arange(SIDE) + 0.5) / SIDE * 2 - 1) * REACH
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    places = centre[:, :, None, None] + grid * radius[:, :, None, None, None]
    shares = places / torch.tensor([width, height]) * 2 - 1
    cuts = F.grid_sample(pictures, shares.flatten(1, 2), padding_mode="border", align_corners=False)
    return cuts.reshape(*cuts.shape[:2], -1, SIDE, SIDE).transpose(1, 2).flatten(0, 1)


def look_closer(looker: Looker, latent: Tensor, video: Tensor) -> None:
    """Say of the things in `latent` what a closer look tells, in place.

    Args:
        latent: float32 [48, T, h, w], what the reader said.
        video: float32 [3, 4 (T - 1) + 1, H, W].
    """
    order = torch.from_numpy(sub_frames(latent.shape[1]))
    for time, said in enumerate(agreed(latent)):
        things = _things(said)
        for _ in range(LOOKS if len(things.presence) else 0):
            things = _looked_at(looker, things, video[:, order[time]].transpose(0, 1))
        lay(latent[:, time : time + 1].numpy(), _codes(things))


def _things(said: Said) -> Said:
    """Each thing once, as the first of the cells that say the same says it; those of most cells first."""
    alike = same(said, said, SAME_PLACE) > 0.5
    speaks = torch.tensor([not bool(row[:place].any()) for place, row in enumerate(alike)], dtype=torch.bool)
    first = speaks.nonzero()[:, 0]
    return said.taken(first[alike[first].sum(dim=1).argsort(descending=True, stable=True)][:MOST_THINGS])


def _looked_at(looker: Looker, things: Said, pictures: Tensor) -> Said:
    """K things after a look at each in each of four pictures."""
    radius = things.radius.clamp(min=LEAST_RADIUS).expand(TEMPORAL_STRIDE, -1)
    told = looker(cut(pictures, SPATIAL_STRIDE * things.centre.transpose(0, 1), SPATIAL_STRIDE * radius))
    shift, growth, colour, shape, mouth = (
        getattr(told, one.name).unflatten(0, (TEMPORAL_STRIDE, -1)) for one in fields(told)
    )
    moved = radius[..., None] * shift.clamp(-MOST_SHIFT, MOST_SHIFT)
    return replace(
        things,
        centre=things.centre + moved.transpose(0, 1),
        radius=radius[0] * growth.mean(dim=0).clamp(-MOST_GROWTH, MOST_GROWTH).exp(),
        colour=colour.mean(dim=0),
        shape=decided(shape.mean(dim=0)),
        mouth=mouth[1::2].T,
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
