"""What the cells of a latent say together, and what a closer look and a measure of textures add."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.embedded.codecs.agreement import agreed, mouth_before
from engine.embedded.codecs.backdrop import match_textures
from engine.embedded.codecs.closer import cut
from engine.embedded.codecs.fields import TEXTURE, fields, simplex
from engine.embedded.codecs.kinds import decided
from engine.embedded.world.canvas import NATIVE
from engine.embedded.world.motion import track
from engine.embedded.world.palette import background as backdrops
from engine.embedded.world.render import render
from engine.embedded.world.scene import Bulk, Face, Lane, Motion, Scene, Speed, Thing
from engine.embedded.world.voice import openness
from hhray.geometry import Size
from hhray.request import Language

PAIR = Scene(
    (
        Thing("star", "red", Motion.RIGHT, Speed.FAST, lane=Lane(bottom=0.5)),
        Thing("ring", "blue", Motion.LEFT, start=0.4, lane=Lane(top=0.5)),
    ),
    background="chequered",
)
FACE = Scene(face=Face("green", Language.ENGLISH, 0))


def pixels(frames):
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1


def test_cells_agree_on_where_a_thing_is():
    thing = Thing("heart", "pink", Motion.CIRCLE, Speed.FAST)
    scene = Scene((thing,))
    latent = torch.from_numpy(fields(scene, 6, NATIVE))
    noise = 0.25 * torch.randn(latent.shape, generator=torch.Generator().manual_seed(1))
    for given, allowed in ((latent, 0.01), (latent + noise, 2.5)):  # pixels; a cell alone is some 3 pixels off
        for time, said in enumerate(agreed(given)):
            path = track(thing, np.arange(4 * time - 3, 4 * time + 1).clip(0) / 25, NATIVE.aspect)
            true = np.stack([path.x, path.y], axis=1) * NATIVE.height + np.array(NATIVE.corner)
            here = said.presence > 0.9
            wrong = 16 * said.centre[here].numpy() - true
            assert np.sqrt(np.square(wrong).mean()) < allowed
            # and they say the same: seams between cells would show
            assert float(said.centre[here].std(dim=0).max()) * 16 < 0.25


def test_things_side_by_side_are_not_mixed_up():
    latent = torch.from_numpy(fields(PAIR, 4, NATIVE))
    for said in agreed(latent):
        red = said.colour[said.presence > 0.9, 0]
        assert bool(((red > 0.7) | (red < -0.7)).all())
        assert bool((red > 0.7).any() and (red < -0.7).any())


def test_a_mouth_is_known_in_the_last_frame_of_the_latent_before():
    said = agreed(torch.from_numpy(fields(FACE, 8, NATIVE)))
    opened = openness(FACE.face, np.arange(29) / 25)
    for time in range(1, 8):
        before = mouth_before(said[time], said[time - 1])
        np.testing.assert_allclose(before, opened[4 * (time - 1)], atol=1e-3)
        np.testing.assert_allclose(said[time].mouth[0], opened[[4 * time - 2, 4 * time]], atol=1e-3)


def test_a_cut_shows_a_thing_at_one_size_wherever_it_is():
    small = Thing("heart", "red", Motion.STILL, bulk=Bulk.SMALL, start=0.2, across=0.3)
    large = Thing("heart", "red", Motion.STILL, bulk=Bulk.LARGE, start=0.6, across=0.8)
    cuts = []
    for thing in (small, large):
        path = track(thing, np.zeros(1), NATIVE.aspect)
        centre = np.stack([path.x, path.y], axis=1) * NATIVE.height + np.array(NATIVE.corner)
        radius = torch.from_numpy(path.radius * NATIVE.height).float()
        cuts.append(
            cut(pixels(render(Scene((thing,)), 1))[:, 0][None], torch.from_numpy(centre[None]).float(), radius[None])
        )
    assert cuts[0].shape == (1, 3, 24, 24)
    assert float((cuts[0] - cuts[1]).abs().mean()) < 0.05
    assert float(cuts[0].std()) > 0.3  # of [-1, 1]: there is something to be seen


def test_a_lonely_word_among_neighbours_is_not_followed():
    scene = Scene((Thing("ball", "green", Motion.STILL, bulk=Bulk.LARGE, start=0.5),))
    latent = torch.from_numpy(fields(scene, 1, NATIVE))
    row, column = (int(place[len(place) // 2]) for place in torch.nonzero(latent[0, 0] > 1.99, as_tuple=True))
    for mistake in (0.0, 2.0 * torch.randn(48, generator=torch.Generator().manual_seed(6))):
        spoilt = latent.clone()
        spoilt[:, 0, row, column] = mistake
        (said,) = agreed(spoilt)
        (here,) = torch.nonzero((said.cell == torch.tensor([row, column])).all(dim=1))[0]
        (true,) = agreed(latent)
        torch.testing.assert_close(said.centre[here], true.centre[0], atol=0.05, rtol=0)


def test_codes_between_kinds_are_decided():
    corners = torch.from_numpy(simplex())
    torch.testing.assert_close(decided(3 * corners), corners, atol=1e-3, rtol=0)
    between = 0.65 * corners[2] + 0.35 * corners[5]
    assert float(decided(between[None])[0] @ corners[2]) > 0.97


@pytest.mark.parametrize("background", ["white", "striped", "chequered"])
def test_textures_are_measured_in_pictures(background):
    class Exact(torch.nn.Module):
        """The true textures in place of trained ones."""

        def forward(self, height, width):
            tones = [backdrops(name, Size(width, height)) for name in ("striped", "chequered")]
            patterns = torch.from_numpy(np.stack(tones)).permute(0, 3, 1, 2)
            return (patterns - patterns.mean(dim=(2, 3), keepdim=True)) / 127.5

    scene = replace(PAIR, background=background)
    true = torch.from_numpy(fields(scene, 2, NATIVE))
    latent = true.clone()
    latent[TEXTURE] = 0
    match_textures(latent, pixels(render(scene, 5))[:, ::4].transpose(0, 1), Exact())
    torch.testing.assert_close(latent, true, atol=0.05, rtol=0)
