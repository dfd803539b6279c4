"""What the cells of a latent say together: each cell takes the mean of all cells that speak of the same thing.

One cell's word is off by pixels where latents are noisy, and its neighbour's in another direction: pixels drawn from
single cells would show the seams. Radius, colour and shape are taken from the latents before and after as well, which
keeps a thing from flickering. A cell whose word nobody shares, or that says nothing, takes its neighbours' word.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from engine.embedded.codecs.fields import COLOUR, LEVELS, MOUTH, OFFSETS, PRESENCE, RADIUS, SHAPE

HEARD = 0.35  # least presence of a cell that is listened to
SAME_PLACE = 0.7  # cells by which votes for one centre may differ
SAME_PLACE_LATER = 1.0  # the same, between latents: things move
SAME_COLOUR = 0.5
ROUNDS = 3  # after which the cells of a thing say the same
SPAN = 2  # latents before and after
LONELY = 1.5  # cells that say the same; with fewer it is likely a mistake
SURE = 0.5  # least presence of a cell that is believed alone: a thing's pixels are all in cells of presence 1
STRONGER = 2.0  # times as many cells must speak against it


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What K cells of one latent say of the things they are at.

    Attributes:
        cell: int64 [K, 2], row and column.
        presence: [K], about 1 where the thing is.
        centre: [K, 4, 2] in cells from the left upper corner, x and y, in each of the four frames.
        radius: [K] in cells.
        colour: [K, 3] in [-1, 1].
        shape: [K, 8], of about unit length.
        mouth: [K, 2] of 0 to 1, in the second and fourth frame.
    """

    cell: Tensor
    presence: Tensor
    centre: Tensor
    radius: Tensor
    colour: Tensor
    shape: Tensor
    mouth: Tensor

    @property
    def place(self) -> Tensor:
        """Mean centre [K, 2]."""
        return self.centre.mean(dim=1)

    def taken(self, places: Tensor) -> Said:
        """What the cells at `places`, int64 [L], say."""
        return Said(*(getattr(self, one.name)[places] for one in fields(self)))


def agreed(latent: Tensor) -> list[Said]:
    """float32 [48, T, h, w] -> what the cells say together, one for each latent."""
    near = [_persuaded(_among(heard(latent[:, time])), latent.shape[2:]) for time in range(latent.shape[1])]
    lasting = []
    for time, said in enumerate(near):
        # as far back as ahead: the mean radius of a thing that grows is that in the middle
        reach = min(SPAN, time, len(near) - 1 - time)
        lasting.append(_lasting(said, near[time - reach : time + reach + 1]))
    return lasting


def mouth_before(said: Said, before: Said) -> Tensor:
    """[K]: how far the mouth of what `said` speaks of was open in the last frame of the latent before."""
    weight = same(said, before, SAME_PLACE_LATER) * before.presence.square()
    known = weight.sum(dim=1)
    opening = (weight @ before.mouth[:, 1:])[:, 0] / known.clamp(min=1e-6)
    return torch.where(known > 0.1, opening, said.mouth[:, 0])


def heard(latent: Tensor) -> Said:
    """Each cell's own word, divided by its presence."""
    presence = latent[PRESENCE][0] / LEVELS["presence"]
    rows, columns = torch.nonzero(presence > HEARD, as_tuple=True)
    values, weight = latent[:, rows, columns].T, presence[rows, columns]
    part = weight[:, None].clamp(max=1.2)
    middle = torch.stack([columns, rows], dim=1) + 0.5
    offsets = (values[:, OFFSETS] / LEVELS["offset"] / part).reshape(-1, 4, 2)
    return Said(
        torch.stack([rows, columns], dim=1),
        weight,
        middle[:, None] + offsets,
        (values[:, RADIUS] / LEVELS["radius"] / part)[:, 0],
        values[:, COLOUR] / LEVELS["colour"] / part,
        values[:, SHAPE] / LEVELS["shape"] / part,
        values[:, MOUTH] / LEVELS["mouth"] / part,
    )


def _among(said: Said) -> Said:
    """Means over the cells of one latent."""
    mean, count = said, len(said.presence)
    for _ in range(ROUNDS):
        # cells count by the square of their presence: that much more exact is what they say
        weight = _normal(same(mean, mean, SAME_PLACE) * said.presence.square())
        mean = Said(
            said.cell,
            said.presence,
            (weight @ said.centre.reshape(count, 8)).reshape(count, 4, 2),
            weight @ said.radius,
            weight @ said.colour,
            weight @ said.shape,
            weight @ said.mouth,
        )
    return mean


def _persuaded(said: Said, grid: torch.Size) -> Said:
    """Lonely cells, and silent ones next to a thing, with what the most shared word next to them says."""
    if not len(said.presence):
        return said
    support = (same(said, said, SAME_PLACE) * said.presence.square()).sum(dim=1)
    silent = torch.ones(grid, dtype=torch.bool)
    silent[said.cell[:, 0], said.cell[:, 1]] = False
    cells = torch.cat([said.cell, silent.nonzero()])
    near = (cells[:, None] - said.cell).abs().amax(dim=2) <= 1
    strength, strongest = (near * support).max(dim=1)
    own = torch.arange(len(cells)).clamp(max=len(support) - 1)
    heard = torch.arange(len(cells)) < len(support)
    keeps = heard & ((support[own] >= LONELY) | (strength < STRONGER * support[own]))
    sure = (support[own] >= LONELY) | (said.presence[own] > SURE)
    speaks = (keeps & sure) | (strength >= LONELY)
    taken = said.taken(torch.where(keeps, own, strongest)[speaks])
    return replace(taken, cell=cells[speaks])


def _lasting(said: Said, near: list[Said]) -> Said:
    """The same with radius, colour and shape that are means over several latents."""
    weight = _normal(
        torch.cat([same(said, other, SAME_PLACE_LATER) * other.presence.square() for other in near], dim=1)
    )
    radius, colour, shape = (weight @ torch.cat([getattr(o, n) for o in near]) for n in ("radius", "colour", "shape"))
    return replace(said, radius=radius, colour=colour, shape=shape)


def same(said: Said, other: Said, reach: float) -> Tensor:
    """How much each of K cells agrees with each of L others in place and colour: [K, L] of 0 to 1."""
    apart = torch.cdist(said.place, other.place) / reach
    unlike = torch.cdist(said.colour, other.colour) / SAME_COLOUR
    return torch.exp(-(apart.square() + unlike.square()) / 2)


def _normal(weight: Tensor) -> Tensor:
    return weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-6)
