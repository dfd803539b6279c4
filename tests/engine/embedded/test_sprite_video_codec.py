"""The video codec of the made world: fields to pixels, pixels to fields, and how both are trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import engine.embedded
from engine.embedded.codecs.agreement import agreed, mouth_before
from engine.embedded.codecs.fields import NUM_USED, fields
from engine.embedded.codecs.video import WEIGHTS, Networks, SpriteVideoCodec
from engine.embedded.scoring.outline import shape_of
from engine.embedded.scoring.sprites import sprites
from engine.embedded.training import video_sheet
from engine.embedded.training.course import restore_courses, save_courses
from engine.embedded.training.video_codec import SHEET, STATE, courses_of, main
from engine.embedded.training.video_lessons import drawing_loss, reading_loss
from engine.embedded.training.video_views import Zoomed, draw_views
from engine.embedded.world.canvas import NATIVE, native
from engine.embedded.world.motion import track
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import Face, Lane, Motion, Scene, Speed, Thing
from engine.embedded.world.voice import openness
from hhray.errors import ConfigError
from hhray.geometry import Ratio
from hhray.request import Language

SHIPPED = Path(engine.embedded.__file__).parent / "weights"
PAIR = Scene(
    (
        Thing("star", "red", Motion.RIGHT, Speed.FAST, lane=Lane(bottom=0.5)),
        Thing("ring", "blue", Motion.LEFT, start=0.4, lane=Lane(top=0.5)),
    ),
    background="chequered",
)
FACE = Scene(face=Face("green", Language.ENGLISH, 0))

needs_weights = pytest.mark.skipif(
    not (SHIPPED / WEIGHTS).exists(), reason=f"no trained weights at {SHIPPED / WEIGHTS}"
)


def untrained(seed=0):
    torch.manual_seed(seed)
    return Networks()


def pixels(frames):
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1


def decibels(drawn, true):
    return 10 * np.log10(255**2 / np.square(np.asarray(drawn, float) - true).mean())


@pytest.mark.parametrize("ratio", [Ratio.R16_9, Ratio.R9_16, Ratio.R1_1])
def test_sizes_and_types_are_those_of_the_protocol(ratio):
    codec, size = SpriteVideoCodec(untrained()), native(ratio).size
    latent = codec.encode_video(torch.rand(3, 9, size.height, size.width) * 2 - 1)
    assert latent.shape == (48, 3, size.height // 16, size.width // 16)
    assert latent.dtype is torch.float32
    assert not latent[NUM_USED:].any()
    frames = codec.decode(latent)
    assert frames.shape == (9, size.height, size.width, 3)
    assert frames.dtype is torch.uint8
    picture = torch.rand(3, 96, 160) * 2 - 1
    assert torch.equal(codec.encode(picture), codec.encode_video(picture[:, None]))


def test_more_latents_than_are_read_at_once_are_the_same_latents():
    codec, video = SpriteVideoCodec(untrained()), pixels(render(PAIR, 69))
    late = codec.encode_video(video)[:, 17]
    # a latent is read from its own four frames: 65 to 68, here as those of the second latent
    torch.testing.assert_close(codec.encode_video(video[:, 64:69])[:, 1], late, atol=1e-4, rtol=1e-4)


def test_frames_that_do_not_fill_latents_are_refused():
    with pytest.raises(ValueError, match="8 frames of 160x90 pixels"):
        SpriteVideoCodec(untrained()).encode_video(torch.zeros(3, 8, 90, 160))


@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0])
def test_any_latents_are_drawn(strength):
    latent = strength * torch.randn(48, 3, 6, 10, generator=torch.Generator().manual_seed(3))
    assert SpriteVideoCodec(untrained()).decode(latent).shape == (9, 96, 160, 3)


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
    losses = [course.step(0.1) for _ in range(80)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_a_short_course_brings_the_reader_s_loss_down():
    networks = untrained()
    course = courses_of(networks, seed=1)[1]
    course.loss = lambda _: reading_loss(
        networks.reader, np.random.default_rng(7), views=1
    )  # one view, again and again
    losses = [course.step(0.1) for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]


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


def test_wrong_weights_are_named(tmp_path):
    path = tmp_path / WEIGHTS
    with pytest.raises(ConfigError, match="no weights of the video codec at"):
        SpriteVideoCodec.load(tmp_path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ConfigError, match="cannot be read"):
        SpriteVideoCodec.load(tmp_path)
    tensors = untrained().state_dict()
    save_file({name: value for name, value in tensors.items() if name != "reader.head.bias"}, path)
    with pytest.raises(ConfigError, match=r"reader\.head\.bias is missing"):
        SpriteVideoCodec.load(tmp_path)
    save_file({**tensors, "reader.head.bias": torch.zeros(4)}, path)
    with pytest.raises(ConfigError, match=r"reader\.head\.bias is \[4\], expected \[28\]"):
        SpriteVideoCodec.load(tmp_path)


@needs_weights
def test_fields_are_drawn_as_the_world_is():
    codec = SpriteVideoCodec.load(SHIPPED)
    for seed in range(8):
        scene = sample(np.random.default_rng([11, seed]), unseen=True)
        drawn = codec.decode(torch.from_numpy(fields(scene, 3, NATIVE)))
        assert decibels(drawn, render(scene, 9)) > 32


@needs_weights
def test_what_is_read_can_be_drawn_again():
    codec = SpriteVideoCodec.load(SHIPPED)
    near = []
    for seed in range(8):
        scene = sample(np.random.default_rng([12, seed]), unseen=True)
        frames = render(scene, 9)
        near.append(decibels(codec.decode(codec.encode_video(pixels(frames))), frames))
    assert np.mean(near) > 25


@needs_weights
def test_noise_in_the_latents_leaves_colour_and_shape():
    codec = SpriteVideoCodec.load(SHIPPED)
    scene = Scene((Thing("triangle", "purple", Motion.UP),), background="cream")
    latent = torch.from_numpy(fields(scene, 5, NATIVE))
    noise = 0.25 * torch.randn(latent.shape, generator=torch.Generator().manual_seed(2))
    found = sprites(codec.decode(latent + noise).numpy())
    assert [(one.colour, shape_of(one.mask)) for one in found] == [("purple", "triangle")]


@needs_weights
def test_a_picture_of_something_else_keeps_about_its_tones():
    codec = SpriteVideoCodec.load(SHIPPED)
    picture = torch.full((3, 96, 160), -0.4) + 0.1 * torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(5))
    drawn = codec.decode(codec.encode(picture))
    assert abs(float(drawn.float().mean() / 127.5 - 1 - picture.mean())) < 0.25


def test_shipped_weights_are_small():
    if not (SHIPPED / WEIGHTS).exists():
        pytest.skip(f"no trained weights at {SHIPPED / WEIGHTS}")
    assert (SHIPPED / WEIGHTS).stat().st_size < 2.2e6
    assert set(load_file(SHIPPED / WEIGHTS)) == set(Networks().state_dict())
