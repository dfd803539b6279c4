"""The video codec of the made world: fields to pixels, pixels to fields, and how both are trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import engine.embedded
from engine.embedded.codecs import video
from engine.embedded.codecs.fields import NUM_USED, fields
from engine.embedded.codecs.video import WEIGHTS, Networks, SpriteVideoCodec
from engine.embedded.scoring.outline import shape_of
from engine.embedded.scoring.sprites import sprites
from engine.embedded.world.canvas import NATIVE, native
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import Lane, Motion, Scene, Speed, Thing
from hhray.errors import ConfigError
from hhray.geometry import Ratio

SHIPPED = Path(engine.embedded.__file__).parent / "weights"
PAIR = Scene(
    (
        Thing("star", "red", Motion.RIGHT, Speed.FAST, lane=Lane(bottom=0.5)),
        Thing("ring", "blue", Motion.LEFT, start=0.4, lane=Lane(top=0.5)),
    ),
    background="chequered",
)

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


def test_more_latents_than_are_read_at_once_are_the_same_latents(monkeypatch):
    codec, moving = SpriteVideoCodec(untrained()), pixels(render(PAIR, 9))
    at_once = codec.encode_video(moving)
    monkeypatch.setattr(video, "LATENTS_AT_ONCE", 2)
    torch.testing.assert_close(codec.encode_video(moving), at_once, atol=1e-3, rtol=1e-3)


def test_frames_that_do_not_fill_latents_are_refused():
    with pytest.raises(ValueError, match="8 frames of 160x90 pixels"):
        SpriteVideoCodec(untrained()).encode_video(torch.zeros(3, 8, 90, 160))


@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0])
def test_any_latents_are_drawn(strength):
    latent = strength * torch.randn(48, 3, 6, 10, generator=torch.Generator().manual_seed(3))
    codec = SpriteVideoCodec(untrained())
    assert codec.decode(latent).shape == (9, 96, 160, 3)
    assert codec.decode(latent[:, :1]).shape == (1, 96, 160, 3)


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
    assert np.mean(near) > 30


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
    assert (SHIPPED / WEIGHTS).stat().st_size < 2.5e6
    assert set(load_file(SHIPPED / WEIGHTS)) == set(Networks().state_dict())
