"""Prompts, and which combinations are kept out of training."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from engine.embedded.world.grammar import plain_prompt, prompt
from engine.embedded.world.palette import COLOURS
from engine.embedded.world.phrases import PHRASES
from engine.embedded.world.sampling import face_held_out, held_out, is_held_out, sample
from engine.embedded.world.scene import Face, Motion, Scene, Thing
from engine.embedded.world.shapes import OUTLINES
from engine.embedded.world.words import CHINESE, ENGLISH
from hhray.request import Language


def prompts(scene, count=400):
    rng = np.random.default_rng(0)
    return {prompt(scene, rng) for _ in range(count)}


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (Scene((Thing("ball", "red", Motion.RIGHT),)), "a red ball moving right"),
        (Scene((Thing("square", "blue", Motion.BOUNCE),)), "a blue square bouncing on a white background"),
        (Scene((Thing("ball", "green", Motion.LEFT),)), "一个绿色的球向左移动"),
    ],
)
def test_the_promised_prompts_are_among_those_of_their_scene(scene, words):
    assert words in prompts(scene)


def test_a_scene_is_said_in_many_ways_and_always_with_colour_shape_and_motion():
    thing = Thing("heart", "orange", Motion.UP)
    said = prompts(Scene((thing,)))
    assert len(said) > 50
    for words in (ENGLISH, CHINESE):
        mine = [text for text in said if words.colours["orange"] in text.lower()]
        assert len(mine) > 10
        for names in (words.shapes["heart"], words.motions[Motion.UP]):
            assert all(any(name in text for name in names) for text in mine)
    assert plain_prompt(thing) == "an orange heart moving up"


def test_no_two_things_are_called_the_same():
    for words in (ENGLISH, CHINESE):
        for names in (words.shapes, words.motions):
            all_names = [name for several in names.values() for name in several]
            assert len(set(all_names)) == len(all_names)
        assert set(words.shapes) == set(OUTLINES)
        assert set(words.colours) == set(COLOURS)
        assert set(words.motions) == set(Motion)


@pytest.mark.parametrize("language", Language)
def test_faces_are_asked_for_in_every_language_and_by_dialogue(language):
    phrases = PHRASES[language]
    assert len({phrase.syllables for phrase in phrases}) == len(phrases) >= 6
    said = prompts(Scene(face=Face("blue", language, 2)))
    assert all(phrases[2].text in text for text in said)
    assert any("blue" not in text for text in said) or language is Language.ENGLISH
    assert any(f'The speaker says in {language}: "{phrases[2].text}"' in text for text in said)


def test_one_combination_in_eight_is_held_out_and_nothing_in_it_is_new():
    kept = [one for one in product(OUTLINES, COLOURS, Motion) if held_out(*one)]
    assert len(kept) == len(OUTLINES) * len(COLOURS) * len(Motion) // 8
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pairs = [(one[first], one[second]) for one in kept]
        assert len(set(pairs)) == len(pairs) == 64  # each pair is held out with one third only
    faces = [Face(colour, language, phrase) for colour in COLOURS for language in Language for phrase in range(6)]
    assert sum(face_held_out(face) for face in faces) == len(faces) // 8


def test_samples_are_of_the_side_that_was_asked_for():
    rng = np.random.default_rng(1)
    training, unseen = [sample(rng) for _ in range(300)], [sample(rng, unseen=True) for _ in range(300)]
    assert all(is_held_out(scene) for scene in unseen)
    for scene in training:
        assert not any(held_out(*thing.combination) for thing in scene.things)
        assert scene.face is None or not face_held_out(scene.face)
    assert {len(scene.things) for scene in training} == {0, 1, 2}
    assert {thing.motion for scene in unseen for thing in scene.things} == set(Motion)
