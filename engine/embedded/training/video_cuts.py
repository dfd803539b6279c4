"""What the closer look learns from: things cut out nearly where they are, and what is true of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from engine.embedded.codecs.agreement import Said, heard
from engine.embedded.codecs.closer import Look, Looker, cut
from engine.embedded.codecs.fields import fields
from engine.embedded.training.video_views import CLEAN_SHARE, LAST_FRAME, placed, spoilt
from engine.embedded.world.canvas import NATIVE, Canvas
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample
from hhray.geometry import SPATIAL_STRIDE

EACH = 8  # cuts of one picture
MISSED, MISJUDGED = 0.25, 0.2  # how far off the reader is: in radii, and in logarithms of the radius
PLACE_WEIGHT = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """Inputs of Looker, and what it should tell."""

    cuts: Tensor
    true: Look


def draw_cuts(rng: Generator, pictures: int) -> Cuts:
    """Cuts of things in `pictures` pictures, EACH of every one that shows any."""
    drawn = [one for one in (_cuts(rng, placed(rng, NATIVE)) for _ in range(pictures)) if one]
    looks = [one.true for one in drawn]
    true = Look(*(torch.cat([getattr(look, n) for look in looks]) for n in Look.__dataclass_fields__))
    return Cuts(torch.cat([one.cuts for one in drawn]), true)


def looking_loss(looker: Looker, rng: Generator, pictures: int = 12) -> Tensor:
    """How far what the closer look tells is from what is true."""
    batch = draw_cuts(rng, pictures)
    told, true = looker(batch.cuts), batch.true
    place = F.smooth_l1_loss(told.shift, true.shift, beta=0.05) + F.smooth_l1_loss(told.growth, true.growth, beta=0.05)
    rest = [F.mse_loss(getattr(told, name), getattr(true, name)) for name in ("colour", "shape", "mouth")]
    return PLACE_WEIGHT * place + sum(rest)


def _cuts(rng: Generator, canvas: Canvas) -> Cuts | None:
    scene, first = sample(rng), int(rng.integers(LAST_FRAME))
    said = heard(torch.from_numpy(fields(scene, 1, canvas, first)[:, 0]))
    sure = torch.nonzero(said.presence > 0.95)[:, 0]
    if not len(sure):
        return None
    frame = render(scene, 1, canvas, first)
    if rng.random() > CLEAN_SHARE:
        frame = spoilt(rng, frame)
    picture = torch.from_numpy(frame).permute(0, 3, 1, 2).float() / 127.5 - 1
    chosen = said.taken(sure[torch.from_numpy(rng.integers(len(sure), size=EACH))])
    return _about(rng, picture, chosen)


def _about(rng: Generator, picture: Tensor, said: Said) -> Cuts:
    """Cut not quite where the things are."""
    centre, radius = SPATIAL_STRIDE * said.centre[:, -1], SPATIAL_STRIDE * said.radius
    missed = torch.from_numpy(MISSED * rng.random((EACH, 1)) * rng.standard_normal((EACH, 2))).float()
    misjudged = torch.from_numpy(MISJUDGED * rng.random(EACH) * rng.standard_normal(EACH)).float()
    taken = radius * misjudged.exp()
    cuts = cut(picture, (centre + missed * radius[:, None])[None], taken[None])
    shift = -missed * (radius / taken)[:, None]
    return Cuts(cuts, Look(shift, -misjudged, said.colour, said.shape, said.mouth[:, 1]))
