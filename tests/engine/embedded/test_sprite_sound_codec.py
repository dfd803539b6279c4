"""The sound codec of the made world: 64 numbers each 1/25 s, no training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.codecs.base import SOUND_RATE
from engine.embedded.codecs.sound import SpriteSoundCodec
from engine.embedded.scoring.hearing import clicks
from engine.embedded.scoring.judge import judge
from engine.embedded.scoring.makers import seen_in_file, through_sound_codec
from engine.embedded.world.motion import contacts
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import Face, Lane, Motion, Scene, Speed, Thing
from engine.embedded.world.sound import TONES, sound
from engine.resample import resample
from hhray.request import Language

NOTHING_DRAWN = torch.Generator()  # the codec is deterministic


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
def test_scores_are_met_through_the_sound_codec(tmp_path, scene):
    assert all(all(right) for right in judge(seen_in_file(scene, through_sound_codec, tmp_path), scene, 75).values())
