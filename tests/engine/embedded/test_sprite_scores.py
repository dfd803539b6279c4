"""Scorers see what the labels say, and see it when it is wrong."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.embedded.scoring.clip_file import Watched
from engine.embedded.scoring.conditions import CONDITIONS
from engine.embedded.scoring.hearing import clicks, tones
from engine.embedded.scoring.judge import in_step, judge, look, tally
from engine.embedded.scoring.makers import seen_in_file, true_clip
from engine.embedded.scoring.outline import shape_of
from engine.embedded.scoring.path import motion_of, seen_track, touches
from engine.embedded.scoring.sprites import sprites
from engine.embedded.scoring.wilson import Tally
from engine.embedded.world.motion import contacts
from engine.embedded.world.palette import BACKGROUNDS, COLOURS
from engine.embedded.world.render import render
from engine.embedded.world.scene import Bulk, Face, Lane, Motion, Scene, Speed, Thing
from engine.embedded.world.shapes import OUTLINES
from engine.embedded.world.sound import sound
from engine.resample import resample
from hhray.request import Language

FRAMES = 75
PAIR = Scene(
    (
        Thing("star", "cyan", Motion.BOUNCE, Speed.FAST, lane=Lane(right=0.5)),
        Thing("ring", "pink", Motion.CIRCLE, Speed.SLOW, lane=Lane(left=0.5)),
    ),
    background="chequered",
)
FACE = Scene(face=Face("blue", Language.KOREAN, 3), background="dark")


@pytest.mark.parametrize(("shape", "colour"), list(zip(OUTLINES, COLOURS, strict=True)))
def test_shape_and_colour_are_seen_on_every_background(shape, colour):
    for background in BACKGROUNDS:
        thing = Thing(shape, colour, Motion.STILL, bulk=Bulk.SMALL)
        (seen,) = sprites(render(Scene((thing,), background=background), 2))
        assert (seen.colour, shape_of(seen.mask)) == (colour, shape)


@pytest.mark.parametrize("speed", Speed)
@pytest.mark.parametrize("motion", Motion)
def test_each_motion_is_seen_at_each_speed(motion, speed):
    thing = Thing("ball", "red", motion, speed, Bulk.LARGE, 0.3, 0.6)
    (seen,) = sprites(render(Scene((thing,)), FRAMES))
    track = seen_track(seen.mask)
    assert motion_of(track) is motion
    if motion is Motion.BOUNCE:
        drawn = contacts(thing, FRAMES / 25) * 25
        assert len(drawn) == len(touches(track))
        np.testing.assert_allclose(touches(track), drawn, atol=1)


@pytest.mark.parametrize("shape", OUTLINES)
def test_each_tone_is_heard(shape):
    heard = _at_48_khz(sound(Scene((Thing(shape, "red", Motion.LEFT),)), 51_200))
    assert tones(heard) == {shape}


def test_silence_and_strange_tones_are_no_shapes():
    time = np.arange(48_000) / 48_000
    assert tones(np.zeros((2, 48_000), dtype=np.float32)) == set()
    assert tones(np.stack([0.2 * np.sin(2 * np.pi * 290 * time)] * 2).astype(np.float32)) == {""}


def test_clicks_are_heard_within_a_hundredth_of_a_second():
    thing = Thing("cross", "red", Motion.BOUNCE, Speed.FAST, Bulk.SMALL, start=0.2)
    heard = clicks(_at_48_khz(sound(Scene((thing,)), 3 * 51_200)))
    np.testing.assert_allclose(heard, contacts(thing, 3.0), atol=0.01)


def test_clicks_out_of_step_missing_or_too_many_are_found():
    drawn = (10.0, 30.0, 50.0)
    assert in_step(drawn, (11.5, 28.2, 50.0), FRAMES)
    assert not in_step(drawn, (10.0, 33.0, 50.0), FRAMES)
    assert not in_step(drawn, (10.0, 50.0), FRAMES)
    assert not in_step(drawn, (10.0, 20.0, 30.0, 50.0), FRAMES)
    assert in_step(drawn, (10.0, 30.0, 50.0, 74.0), FRAMES)  # its touch may come after the last frame


@pytest.mark.parametrize("scene", [PAIR, FACE], ids=["pair", "face"])
def test_a_clip_is_judged_right_from_its_file(tmp_path, scene):
    seen = seen_in_file(scene, true_clip, tmp_path)
    answers = judge(seen, scene, FRAMES)
    expected = {"colour", "mouth", "speech"} if scene.face else {"colour", "shape", "direction", "tone", "clicks"}
    assert {name for name, right in answers.items() if right} == expected
    assert all(all(right) for right in answers.values())


def test_a_wrong_clip_is_judged_wrong():
    other = Scene((Thing("heart", "red", Motion.LEFT), Thing("ball", "blue", Motion.UP)))
    seen = look(_watched(other))
    assert not any(any(right) for right in judge(seen, PAIR, FRAMES).values())
    late = look(_watched(FACE, frames_late=6))
    answers = judge(late, FACE, FRAMES)
    assert answers["colour"] == [True]
    assert answers["mouth"] == answers["speech"] == [False]
    said_otherwise = replace(FACE, face=replace(FACE.face, language=Language.FRENCH, phrase=2))
    assert judge(look(_watched(FACE)), said_otherwise, FRAMES)["speech"] == [False]


def test_an_empty_clip_meets_nothing_and_breaks_nothing():
    grey = Watched(np.full((FRAMES, 128, 224, 3), 128, np.uint8), np.zeros((2, 3 * 48_000), np.float32))
    for scene in (PAIR, FACE):
        assert not any(any(right) for right in judge(look(grey), scene, FRAMES).values())


@pytest.mark.parametrize("mode", CONDITIONS)
def test_the_prompts_of_every_mode_are_sentences(mode, tmp_path):
    for task in CONDITIONS[mode].tasks(8, 5, tmp_path):
        assert not re.search(r"[(){}]|', '", task.prompt), "a list of words stands where one should"


def test_wilson_intervals():
    low, high = Tally(97, 100).interval()
    assert (low, high) == pytest.approx((0.9155, 0.9897), abs=1e-4)
    assert Tally(200, 200).interval() == pytest.approx((0.9812, 1.0), abs=1e-4)
    assert Tally().interval() == (0.0, 1.0)
    counted = tally([{"colour": [True, False]}, {"colour": [True]}])["colour"]
    assert (counted.right, counted.total) == (2, 3)


def _watched(scene, frames_late=0):
    heard = np.roll(sound(scene, FRAMES * 2048), frames_late * 2048, axis=1)
    return Watched(render(scene, FRAMES), _at_48_khz(heard))


def _at_48_khz(heard):
    return resample(torch.from_numpy(np.ascontiguousarray(heard)), 51_200, 48_000).numpy()
