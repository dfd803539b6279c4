"""The stand-in codecs keep the promises of their protocols."""

from __future__ import annotations

import pytest
import torch

from engine.codecs.additive import AdditiveAudioCodec
from engine.codecs.averaging import AveragingVideoCodec
from engine.codecs.bytewise import BytewiseTextEncoder
from hhray.errors import MediaError


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("num_latents", [1, 2, 5, 9])
def test_frames_have_the_codecs_strides(num_latents):
    frames = AveragingVideoCodec().decode(noise(48, num_latents, 4, 6))
    assert frames.shape == (4 * (num_latents - 1) + 1, 64, 96, 3)
    assert frames.dtype is torch.uint8


def test_zeros_decode_to_grey_and_noise_to_colours():
    codec = AveragingVideoCodec()
    grey, colours = codec.decode(torch.zeros(48, 3, 4, 4)), codec.decode(noise(48, 3, 4, 4))
    assert set(grey.unique().tolist()) <= {127, 128}
    assert colours.float().std() > 30


def test_an_encoded_picture_is_recognised_after_decode():
    rows, columns = torch.linspace(-1, 1, 64)[:, None], torch.linspace(-1, 1, 96)[None]
    picture = torch.stack([rows.expand(64, 96), columns.expand(64, 96), rows * columns])
    codec = AveragingVideoCodec()
    latent = codec.encode(picture)
    assert latent.shape == (48, 1, 4, 6)
    back = codec.decode(latent)[0].permute(2, 0, 1) / 127.5 - 1
    assert (back - picture).abs().max() < 0.08


def test_frames_run_linearly_from_one_latent_to_the_next():
    latent = torch.stack([torch.full((48, 2, 2), -1.0), torch.full((48, 2, 2), 1.0)], dim=1)
    levels = AveragingVideoCodec().decode(latent)[:, 0, 0, 0].tolist()
    assert levels == [64, 96, 128, 159, 191]


def test_an_encoded_video_is_itself_again_at_every_fourth_frame():
    rows, columns = torch.linspace(-1, 1, 64)[:, None], torch.linspace(-1, 1, 96)[None]
    times = torch.linspace(-1, 1, 13)[:, None, None]
    video = torch.stack([times * rows * columns, (times + rows + 0 * columns) / 2, times.expand(13, 64, 96)])
    codec = AveragingVideoCodec()
    latent = codec.encode_video(video)
    assert latent.shape == (48, 4, 4, 6)
    assert torch.equal(latent[:, 2:3], codec.encode(video[:, 8]))
    back = codec.decode(latent).permute(3, 0, 1, 2) / 127.5 - 1
    assert back.shape == video.shape
    assert (back - video)[:, ::4].abs().max() < 0.08


def relative(error, signal):
    return (error.norm() / signal.norm()).item()


def test_encoded_sound_decodes_to_the_same_sound():
    codec, drawn = AdditiveAudioCodec(), torch.Generator().manual_seed(0)
    latent = noise(64, 30)
    sound = codec.decode(latent)
    again = codec.encode(sound, 51_200, drawn)
    assert again.shape == (64, 30)
    assert (again - latent).abs().median() < 0.01
    assert relative(codec.decode(again) - sound, sound) < 0.01
    assert torch.equal(codec.encode(sound, 51_200, drawn), again)


def test_sound_of_another_rate_and_mono_are_followed():
    codec, drawn = AdditiveAudioCodec(), torch.Generator().manual_seed(0)
    seconds = torch.arange(44_100, dtype=torch.float64) / 44_100
    tone = torch.sin(2 * torch.pi * 400 * seconds + 1).float()[None] * (seconds > 0.5) * 0.05
    latent = codec.encode(tone, 44_100, drawn)
    assert latent.shape == (64, 25)
    tones_of_400_hz = (400 // 25 - 4) // 2
    assert latent[:, 14:24].argmax(0).unique().tolist() == [tones_of_400_hz]
    assert latent[tones_of_400_hz, 14:24].min() > latent[tones_of_400_hz, :12].max() + 1
    both = codec.encode(tone.expand(2, -1), 44_100, drawn)
    assert torch.equal(both, latent)


def test_sound_shorter_than_a_latent_is_refused():
    with pytest.raises(MediaError, match="1/25 s"):
        AdditiveAudioCodec().encode(torch.zeros(1, 2047), 51_200, torch.Generator())


def test_sound_is_stereo_never_silent_and_never_clips():
    codec = AdditiveAudioCodec()
    for latent in (torch.zeros(64, 50), noise(64, 50), torch.full((64, 50), -9.0), torch.full((64, 50), 9.0)):
        sound = codec.decode(latent)
        assert sound.shape == (2, 50 * 2048)
        assert sound.pow(2).mean().sqrt() > 0.01
        assert sound.abs().max() <= 0.91
        assert not torch.allclose(sound[0], sound[1], atol=0.01)


def test_sound_follows_its_latents_without_a_jump():
    codec = AdditiveAudioCodec()
    assert not torch.allclose(codec.decode(noise(64, 8)), codec.decode(torch.zeros(64, 8)), atol=0.01)
    loud_then_quiet = torch.cat([torch.full((64, 4), 3.0), torch.full((64, 4), -3.0)], dim=1)
    sound = codec.decode(loud_then_quiet)
    assert sound[:, : 3 * 2048].pow(2).mean() > 4 * sound[:, 5 * 2048 :].pow(2).mean()
    inside = (sound[:, 1:] - sound[:, :-1]).abs()
    at_borders = inside[:, 2047::2048]
    assert at_borders.max() <= inside.max()


def test_prompts_give_their_own_features_every_time():
    encoder = BytewiseTextEncoder(32)
    fox = encoder.encode("a red fox")
    assert fox.shape == (5, 32)
    assert torch.equal(fox, BytewiseTextEncoder(32).encode("a red fox"))
    assert not torch.equal(fox, encoder.encode("a red fix"))
    assert not torch.equal(fox, encoder.encode("red a fox"))


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("", 2), ("   ", 2), ("一只红色的狐狸", 2 + 3), ("\ud800", 2 + 1), ("x" * 8, 2 + 1), ("word " * 5000, 640)],
)
def test_every_prompt_has_two_to_640_tokens(prompt, tokens):
    features = BytewiseTextEncoder(32).encode(prompt)
    assert features.shape == (tokens, 32)
    assert features.isfinite().all()
