"""The small codecs: strides, both ways, and what they keep of the world."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.codecs.base import SOUND_RATE
from engine.embedded.codecs.blocks import BLOCK, Basis, axes, blocks_of, principal_directions, video_of
from engine.embedded.codecs.sound import SpriteSoundCodec
from engine.embedded.codecs.training import CodecWeights, Training
from engine.embedded.codecs.video import SpriteVideoCodec
from engine.embedded.scores import seen_in_file, through_codecs
from engine.embedded.scoring.hearing import clicks
from engine.embedded.scoring.judge import judge
from engine.embedded.world.motion import contacts
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import Face, Lane, Motion, Scene, Speed, Thing
from engine.embedded.world.sound import TONES, sound
from engine.resample import resample
from hhray.errors import ConfigError
from hhray.request import Language

NOTHING_DRAWN = torch.Generator()


@pytest.fixture(scope="module")
def codec():
    return SpriteVideoCodec.load()


def video_tensor(scene, num_frames):
    return torch.from_numpy(render(scene, num_frames)).permute(3, 0, 1, 2) / 127.5 - 1


def test_blocks_come_back():
    video = torch.rand(3, 9, 32, 48)
    blocks = blocks_of(video)
    assert blocks.shape == (3, 2, 3, BLOCK)
    assert torch.equal(video_of(blocks), video)
    assert torch.equal(blocks_of(video[:, :1].expand(-1, 5, -1, -1))[0], blocks_of(video[:, :1])[0])


def test_principal_axes_are_independent_and_of_mean_variance_one():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(60, 60, generator=generator, dtype=torch.float64)
    data = torch.randn(4000, 60, generator=generator, dtype=torch.float64) @ mixing
    directions = principal_directions(data.T.cov())
    latents = data @ directions.T
    rotation, scales = axes(latents.T.cov(), 0.75)
    settled = (latents @ rotation.T / scales).T.cov()
    assert torch.allclose(settled, torch.diag(settled.diagonal()), atol=1e-9)
    assert float(settled.diagonal().mean()) == pytest.approx(1)
    assert settled.diagonal()[0] > settled.diagonal()[-1]


@pytest.mark.parametrize("num_latents", [1, 2, 20])
def test_strides_are_those_of_the_real_codec(codec, num_latents):
    num_frames = 4 * (num_latents - 1) + 1
    video = video_tensor(sample(np.random.default_rng(0)), num_frames)[:, :, :64, :96]
    latent = codec.encode_video(video)
    assert latent.shape == (48, num_latents, 4, 6)
    assert latent.dtype is torch.float32
    frames = codec.decode(latent)
    assert frames.shape == (num_frames, 64, 96, 3)
    assert frames.dtype is torch.uint8


def test_a_picture_has_the_latents_of_a_video_that_stands_still(codec):
    video = video_tensor(Scene((Thing("star", "pink", Motion.STILL),)), 9)
    latent = codec.encode_video(video)
    for place in range(3):
        torch.testing.assert_close(latent[:, place], codec.encode(video[:, 0])[:, 0], atol=1e-4, rtol=0)


def test_latents_are_of_about_unit_variance(codec):
    rng = np.random.default_rng(5)
    latents = torch.cat([codec.encode_video(video_tensor(sample(rng), 77)).flatten(1) for _ in range(12)], dim=1)
    assert 0.7 < float(latents.square().mean()) < 1.4
    deviations = latents.std(1)
    assert 0.25 < float(deviations.min()) <= float(deviations.max()) < 3


def test_pictures_come_back_as_they_were(codec):
    rng, errors = np.random.default_rng(9), []
    for _ in range(4):
        video = video_tensor(sample(rng, unseen=True), 33)
        decoded = codec.decode(codec.encode_video(video)).permute(3, 0, 1, 2)
        errors.append((decoded - (video + 1) * 127.5).square().mean().item())
    assert 10 * np.log10(255**2 / np.mean(errors)) > 29


def test_decoding_does_not_depend_on_its_chunks(codec, monkeypatch):
    latent = codec.encode_video(video_tensor(sample(np.random.default_rng(2)), 77))
    whole = codec.decode(latent)
    monkeypatch.setattr("engine.embedded.codecs.video.CHUNK", 5)
    assert (codec.decode(latent).int() - whole.int()).abs().max() <= 1


def test_a_codec_without_refiner_is_linear():
    generator = torch.Generator().manual_seed(1)
    basis = Basis(torch.zeros(BLOCK), torch.linalg.qr(torch.randn(BLOCK, 48, generator=generator)).Q.T, torch.ones(48))
    latent = torch.randn(48, 2, 2, 2, generator=generator)
    assert torch.allclose(basis.encode(video_of(basis.decode(latent)))[:, 1:], latent[:, 1:], atol=1e-5)
    assert SpriteVideoCodec(basis, None).decode(latent).shape == (5, 32, 32, 3)


def test_files_that_hold_no_codec_are_refused(tmp_path):
    (tmp_path / "damaged").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    for name in ("absent", "damaged"):
        with pytest.raises(ConfigError, match="holds no video codec"):
            SpriteVideoCodec.load(tmp_path / name)


def test_a_saved_codec_decodes_the_same_within_half_precision(tmp_path, codec):
    codec.save(tmp_path / "codec.safetensors")
    assert (tmp_path / "codec.safetensors").stat().st_size < 3_000_000
    latent = codec.encode_video(video_tensor(sample(np.random.default_rng(4)), 5))
    assert torch.equal(SpriteVideoCodec.load(tmp_path / "codec.safetensors").decode(latent), codec.decode(latent))


def test_training_goes_on_where_it_stopped_and_settling_changes_nothing(tmp_path):
    torch.manual_seed(0)
    samples = torch.randn(200, BLOCK) * torch.linspace(2, 0.1, BLOCK)
    weights = CodecWeights(torch.zeros(BLOCK), samples.T.cov(), torch.linalg.qr(torch.randn(BLOCK, 48)).Q.T)
    torch.nn.init.normal_(weights.refiner.paint.weight, std=0.1)
    run = Training(weights, _adam(weights), 4, 10, 1)
    run.advance()
    run.save(tmp_path)
    again = Training.resume(tmp_path, "cpu")
    assert (again.step, again.num_steps) == (1, 10)
    assert again.advance() == run.advance()
    video = video_tensor(sample(np.random.default_rng(1)), 5)
    with torch.no_grad():
        basis, (settled, refiner) = run.weights.basis(), run.weights.settled()
        first, second = run.weights.refiner(basis.encode(video)[None]), refiner(settled.encode(video)[None])
        torch.testing.assert_close(second, first, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("rate", "channels"), [(51_200, 2), (48_000, 2), (22_050, 1)])
def test_sound_of_any_rate_has_25_latents_a_second(rate, channels):
    heard = torch.rand(channels, rate) * 2 - 1
    codec = SpriteSoundCodec()
    latent = codec.encode(heard, rate, NOTHING_DRAWN)
    assert latent.shape == (64, 25)
    decoded = codec.decode(latent)
    assert decoded.shape == (2, 25 * 2048)
    assert decoded.dtype is torch.float32
    assert float(decoded.abs().max()) <= 1


@pytest.mark.parametrize("shape", TONES)
def test_a_tone_keeps_pitch_loudness_and_side(shape):
    thing = Thing(shape, "red", Motion.RIGHT, Speed.SLOW, across=0.5)
    heard = torch.from_numpy(sound(Scene((thing,)), 25 * 2048))
    codec = SpriteSoundCodec()
    decoded = codec.decode(codec.encode(heard, SOUND_RATE, NOTHING_DRAWN))
    spectrum = torch.fft.rfft(decoded.sum(0)).abs()
    assert abs(int(spectrum.argmax()) - TONES[shape]) <= 1  # bins of 1 Hz
    levels = [one[:, 4096:-4096].square().mean(1).sqrt() for one in (heard, decoded)]
    torch.testing.assert_close(levels[1], levels[0], rtol=0.12, atol=0)


def test_clicks_stay_where_they_are_and_silence_is_silent():
    thing, codec = Thing("ball", "blue", Motion.BOUNCE, Speed.FAST, start=0.45), SpriteSoundCodec()
    heard = torch.from_numpy(sound(Scene((thing,)), 75 * 2048))
    decoded = codec.decode(codec.encode(heard, SOUND_RATE, NOTHING_DRAWN))
    found = clicks(resample(decoded, SOUND_RATE, 48_000).numpy())
    np.testing.assert_allclose(found, contacts(thing, 3.0), atol=0.02)
    latent = codec.encode(torch.zeros(2, 20_480), SOUND_RATE, NOTHING_DRAWN)
    assert float(codec.decode(latent + 0.3 * torch.randn(latent.shape, generator=torch.Generator())).abs().max()) < 3e-3


def test_latents_of_sound_are_of_about_unit_variance():
    rng, codec = np.random.default_rng(3), SpriteSoundCodec()
    scenes = [sample(rng) for _ in range(25)]
    heard = [torch.from_numpy(sound(scene, 77 * 2048)) for scene in scenes]
    latents = torch.cat([codec.encode(one, SOUND_RATE, NOTHING_DRAWN) for one in heard], dim=1)
    assert 0.6 < float(latents.square().mean()) < 1.5


@pytest.mark.parametrize(
    "scene",
    [
        Scene(
            (
                Thing("star", "cyan", Motion.BOUNCE, lane=Lane(right=0.5)),
                Thing("ring", "red", Motion.UP, lane=Lane(left=0.5)),
            )
        ),
        Scene(face=Face("orange", Language.JAPANESE, 4), background="striped"),
    ],
    ids=["pair", "face"],
)
def test_scores_are_met_through_both_codecs(tmp_path, scene):
    assert all(all(right) for right in judge(seen_in_file(scene, through_codecs, tmp_path), scene, 75).values())


def _adam(weights):
    groups = [{"params": [weights.free], "peak": 1e-4}, {"params": list(weights.refiner.parameters()), "peak": 1e-3}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99))
