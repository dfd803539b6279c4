"""How the video codec of the made world is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.embedded.codecs.agreement import agreed
from engine.embedded.codecs.fields import NUM_USED, fields
from engine.embedded.codecs.video import Networks, SpriteVideoCodec
from engine.embedded.scoring.sprites import sprites
from engine.embedded.training import video_sheet
from engine.embedded.training.course import restore_courses, save_courses
from engine.embedded.training.video_codec import SHEET, STATE, courses_of, main
from engine.embedded.training.video_cuts import looking_loss
from engine.embedded.training.video_lessons import drawing_loss, reading_loss
from engine.embedded.training.video_views import Zoomed, draw_views
from engine.embedded.world.canvas import NATIVE
from engine.embedded.world.render import render
from engine.embedded.world.scene import Motion, Scene, Thing


def untrained(seed=0):
    torch.manual_seed(seed)
    return Networks()


def test_a_zoomed_world_is_larger_in_pixels_and_in_fields():
    thing = Thing("square", "blue", Motion.STILL, start=0.5)
    larger = Zoomed(NATIVE.size, NATIVE.aspect, 1.5, (0.1, 0.0))
    plain, zoomed = (agreed(torch.from_numpy(fields(Scene((thing,)), 1, canvas)))[0] for canvas in (NATIVE, larger))
    assert float(zoomed.radius[0] / plain.radius[0]) == pytest.approx(1.5, rel=1e-4)
    found = sprites(render(Scene((thing,)), 1, larger))[0].mask[0]
    middle = np.argwhere(found).mean(axis=0)[::-1] + 0.5
    np.testing.assert_allclose(middle / 16, zoomed.centre[0, 0], atol=0.1)


def test_views_are_seeded_and_have_the_reader_s_sizes():
    one, again = (draw_views(np.random.default_rng(4), 2) for _ in range(2))
    assert one.frames.shape[1] == 12
    assert one.said.shape == (2, NUM_USED, one.frames.shape[2] // 16, one.frames.shape[3] // 16)
    assert torch.equal(one.frames, again.frames)
    assert float(one.frames.abs().max()) <= 1


def test_a_short_course_brings_the_drawer_s_loss_down():
    networks = untrained()
    course = courses_of(networks, seed=1)[0]
    course.loss = lambda rng: drawing_loss(networks.drawer, rng, points=256)
    losses = [course.step(0.1) for _ in range(50)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_a_short_course_brings_the_reader_s_loss_down():
    networks = untrained()
    course = courses_of(networks, seed=1)[1]
    course.loss = lambda _: reading_loss(
        networks.reader, np.random.default_rng(7), views=1
    )  # one view, again and again
    losses = [course.step(0.1) for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_short_course_brings_the_looker_s_loss_down():
    networks = untrained()
    course = courses_of(networks, seed=1)[2]
    course.loss = lambda rng: looking_loss(networks.looker, rng, pictures=2)
    losses = [course.step(0.1) for _ in range(40)]
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:5])


def test_a_course_taken_up_again_goes_on_as_it_would_have(tmp_path):
    networks = untrained()
    course = courses_of(networks, seed=2)[0]
    for _ in range(3):
        course.step(0.1)
    save_courses([course], tmp_path / STATE)
    expected = [course.step(0.1) for _ in range(3)]
    resumed = courses_of(untrained(seed=9), seed=2)[0]
    restore_courses([resumed], tmp_path / STATE)
    assert [resumed.step(0.1) for _ in range(3)] == pytest.approx(expected, rel=1e-5)


def test_the_command_writes_weights_and_a_sheet(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(video_sheet, "ROWS", 1)
    assert main(["--to", str(tmp_path), "--minutes", "0.002"]) == 0
    assert SpriteVideoCodec.load(tmp_path).encode(torch.zeros(3, 96, 160)).shape == (48, 1, 6, 10)
    assert (tmp_path / SHEET).stat().st_size > 1000
    (tmp_path / STATE).write_bytes(b"no tensors")
    assert main(["--to", str(tmp_path), "--minutes", "0.002"]) == 2
    assert f"{tmp_path / STATE}; remove it" in capsys.readouterr().err
