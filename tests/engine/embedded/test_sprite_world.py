"""The made world: its labels are what is drawn and heard."""

from __future__ import annotations

import numpy as np
import pytest

from engine.embedded.world.canvas import NATIVE, Canvas, native
from engine.embedded.world.motion import contacts, track
from engine.embedded.world.palette import BACKGROUNDS, COLOURS
from engine.embedded.world.phrases import PHRASES
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import Bulk, Face, Motion, Scene, Speed, Thing
from engine.embedded.world.shapes import BOTTOMS, OUTLINES, coverage
from engine.embedded.world.sound import SAMPLE_RATE, TONES, sound
from engine.embedded.world.voice import openness
from hhray.geometry import PIXELS, Ratio, Size
from hhray.request import Language

FRAMES = 77
TIMES = np.arange(FRAMES) / 25


def test_the_world_has_what_was_asked_for():
    assert len(COLOURS) >= 8
    assert len(OUTLINES) >= 7
    assert len(BACKGROUNDS) >= 6
    assert set(TONES) == set(OUTLINES) == set(BOTTOMS)
    assert set(PHRASES) == set(Language)
    hues = sorted(_hue(colour) for colour in COLOURS.values())
    assert min(np.diff([*hues, hues[0] + 360])) > 20
    assert all(np.ptp(tone) < 30 for tones in BACKGROUNDS.values() for tone in tones)


@pytest.mark.parametrize("motion", Motion)
@pytest.mark.parametrize(
    ("bulk", "ratio"), [(Bulk.SMALL, Ratio.R16_9), (Bulk.LARGE, Ratio.R16_9), (Bulk.LARGE, Ratio.R9_16)]
)
def test_things_are_drawn_where_the_labels_say_and_stay_in_the_picture(motion, bulk, ratio):
    thing, canvas = Thing("square", "red", motion, Speed.FAST, bulk, 0.7, 0.4), native(ratio)
    path, frames = track(thing, TIMES, canvas.aspect), render(Scene((thing,)), FRAMES, canvas)
    size, (left, top), unit = canvas.size, canvas.corner, canvas.height
    seen = frames[..., 1] < 128
    assert (seen.sum((1, 2)) > 30).all()
    rows, columns = np.arange(size.height) + 0.5, np.arange(size.width) + 0.5
    area = seen.sum((1, 2))
    np.testing.assert_allclose((seen.sum(2) @ rows / area - top) / unit, path.y, atol=0.008)
    np.testing.assert_allclose((seen.sum(1) @ columns / area - left) / unit, path.x, atol=0.008)
    assert not seen[:, 0].any()
    assert not seen[:, -1].any()
    assert not seen[:, :, 0].any()
    assert not seen[:, :, -1].any()


@pytest.mark.parametrize("shape", OUTLINES)
def test_a_bouncing_thing_touches_the_ground_at_its_contacts(shape):
    thing = Thing(shape, "blue", Motion.BOUNCE, Speed.NORMAL, start=0.3)
    moments = contacts(thing, 3.0)
    assert len(moments) == 3
    lowest = track(thing, moments, NATIVE.aspect)
    np.testing.assert_allclose(lowest.y + lowest.radius * BOTTOMS[shape], 0.98, atol=1e-9)
    side = np.arange(-60, 60).astype(np.float32) + np.float32(0.5)
    inside = coverage(shape, side[None], side[:, None], 50.0) > 0.05
    assert side[inside.any(1)].max() == pytest.approx(50 * BOTTOMS[shape], abs=1.6)  # tips are thin


def test_a_click_begins_at_each_contact():
    thing = Thing("ball", "blue", Motion.BOUNCE, Speed.FAST, start=0.45)
    loud, quiet = (
        sound(Scene((thing,)), 3 * SAMPLE_RATE),
        sound(Scene((Thing("ball", "blue", Motion.UP),)), SAMPLE_RATE),
    )
    jumps = np.abs(np.diff(loud.sum(0), n=2))
    places = np.flatnonzero(jumps > 10 * np.abs(np.diff(quiet.sum(0), n=2)).max()) / SAMPLE_RATE
    starts = places[np.diff(places, prepend=-1) > 0.05]
    np.testing.assert_allclose(starts, contacts(thing, 3.0), atol=1e-3)


def test_larger_things_are_louder_and_still_ones_are_silent():
    def level(**values):
        thing = Thing("ring", "red", **values)
        return float(np.sqrt(np.square(sound(Scene((thing,)), SAMPLE_RATE)).mean()))

    assert level(motion=Motion.LEFT, bulk=Bulk.LARGE) > 1.5 * level(motion=Motion.LEFT, bulk=Bulk.SMALL) > 0.02
    assert level(motion=Motion.STILL) == 0


def test_a_thing_sounds_from_where_it_is():
    left, right = np.square(sound(Scene((Thing("star", "red", Motion.RIGHT, Speed.FAST),)), 3 * SAMPLE_RATE))
    assert left[: SAMPLE_RATE // 2].mean() > 2 * right[: SAMPLE_RATE // 2].mean()
    assert right[-SAMPLE_RATE // 2 :].mean() > 2 * left[-SAMPLE_RATE // 2 :].mean()


@pytest.mark.parametrize("language", Language)
def test_a_mouth_opens_as_its_voice_is_loud(language):
    face = Face("green", language, 1)
    scene, opened = Scene(face=face), openness(face, TIMES)
    heard = sound(scene, FRAMES * 2048).mean(0)
    near = np.pad(np.square(heard), 1024)[: FRAMES * 2048].reshape(FRAMES, 2048)
    assert np.corrcoef(np.sqrt(near.mean(1)), opened)[0, 1] > 0.9
    dark = (render(scene, FRAMES)[:, 48:, :].max(-1) < 60).sum((1, 2))
    assert np.corrcoef(dark, opened)[0, 1] > 0.99
    assert 0.4 < opened.max() <= 1


def test_voices_differ_from_language_to_language():
    tracks = [openness(Face("green", language, 0), TIMES) for language in Language]
    assert all(np.abs(a - b).max() > 0.1 for i, a in enumerate(tracks) for b in tracks[:i])


def test_a_scene_is_the_same_every_time_at_any_size():
    scene = sample(np.random.default_rng(3))
    assert scene == sample(np.random.default_rng(3))
    np.testing.assert_array_equal(render(scene, 5), render(scene, 5))
    np.testing.assert_array_equal(render(scene, 3, first=2), render(scene, 5)[2:])
    large = render(scene, 2, Canvas(Size(320, 192), NATIVE.aspect)).reshape(2, 96, 2, 160, 2, 3).mean((2, 4))
    assert np.abs(large - render(scene, 2)).mean() < 1.5
    assert render(scene, 2, native(Ratio.R9_16)).shape == (2, 160, 96, 3)


def test_what_is_delivered_of_a_native_size_is_what_the_base_shows():
    assert NATIVE == native(Ratio.R16_9) == Canvas(Size(160, 96), 1.75)
    for ratio in Ratio:
        canvas, base = native(ratio), PIXELS[ratio][0]
        size = canvas.size
        assert size.width % 32 == size.height % 32 == 0
        assert 0 <= size.width - base.width * 5 / 14 < 32
        assert 0 <= size.height - base.height * 5 / 14 < 32
        left, top = canvas.corner
        assert size.width - 2 * left == pytest.approx(canvas.height * base.aspect)
        assert size.height - 2 * top == pytest.approx(canvas.height)


def test_long_clips_go_on():
    for motion in Motion:
        path = track(Thing("ball", "red", motion, Speed.FAST), np.arange(375) / 25, NATIVE.aspect)
        on = (path.x > -path.radius) & (path.x < NATIVE.aspect + path.radius) & (path.y > -path.radius)
        assert on.all()


def _hue(colour):
    red, green, blue = (float(value) for value in colour)
    return np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
