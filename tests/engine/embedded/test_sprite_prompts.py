"""Prompts, and which combinations are kept out of training."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from engine.embedded.meaning import choices
from engine.embedded.wishes import ask, ask_for_change, ask_of_pictures
from engine.embedded.world.chinese import TRADITIONAL
from engine.embedded.world.grammar import plain_prompt, prompt, said
from engine.embedded.world.palette import COLOURS
from engine.embedded.world.phrases import PHRASES
from engine.embedded.world.sampling import COLUMNS, face_held_out, held_out, is_held_out, sample
from engine.embedded.world.scene import Bulk, Face, Motion, Scene, Speed, Thing
from engine.embedded.world.shapes import OUTLINES
from engine.embedded.world.words import CHINESE, COURSES, ENGLISH, MOVES
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
    assert words in prompts(scene, count=12_000)


def test_a_scene_is_said_in_many_ways_and_always_with_colour_shape_and_motion():
    thing = Thing("heart", "orange", Motion.UP)
    said = prompts(Scene((thing,)))
    assert len(said) > 50
    for words in (ENGLISH, CHINESE):
        mine = [text for text in said if text.isascii() == (words is ENGLISH)]
        assert len(mine) > 10
        ways = MOVES[Motion.UP] + COURSES[Motion.UP]
        for names in (words.shapes["heart"], words.colours["orange"], words.motions[Motion.UP] + ways):
            kinds = (*names, *(name.translate(TRADITIONAL) for name in names))
            assert all(any(name in text.lower() for name in kinds) for text in mine)
    assert plain_prompt(thing) == "an orange heart moving up"


def test_no_two_things_are_called_the_same():
    for words in (ENGLISH, CHINESE):
        for names in (words.shapes, words.colours, words.motions, words.speeds, words.bulks, words.backgrounds):
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


def test_what_is_not_said_is_understood_as_usual():
    rng = np.random.default_rng(2)
    thing = Thing("star", "green", Motion.LEFT, Speed.FAST, Bulk.SMALL, 0.3, 0.4)
    scene = Scene((thing,), background="chequered")
    heard = [said(scene, rng) for _ in range(300)]
    for one in heard:
        only, text = one.scene.things[0], one.prompt.lower().replace("中等大小", "")
        assert (only.combination, only.start, only.across) == (thing.combination, 0.3, 0.4)
        for value, usual, names in (
            (only.speed, Speed.NORMAL, (*spoken("speeds", Speed.FAST), "quick")),
            (only.bulk, Bulk.MEDIUM, spoken("bulks", Bulk.SMALL)),
            (one.scene.background, "white", spoken("backgrounds", "chequered")),
        ):
            assert any(name in text for name in names) == (value != usual)
    assert len({(one.scene.things[0].speed, one.scene.things[0].bulk, one.scene.background) for one in heard}) == 8


def spoken(kind, value):
    """Names in English and in both ways to write Chinese."""
    names = getattr(ENGLISH, kind)[value] + getattr(CHINESE, kind)[value]
    return {*names, *(name.translate(TRADITIONAL) for name in names)}


def test_the_first_of_two_is_named_first_unless_both_places_are_said():
    rng = np.random.default_rng(3)
    scene = Scene((Thing("ball", "red", Motion.UP), Thing("star", "blue", Motion.GROW)))
    pair = tuple(replace(thing, lane=lane) for thing, lane in zip(scene.things, COLUMNS, strict=True))
    texts = {prompt(replace(scene, things=pair), rng).lower() for _ in range(400)}
    turned = [text for text in texts if first_place(text, "blue") < first_place(text, "red")]
    assert turned
    assert all(("left" in text and "right" in text) or {"左", "右"} < set(text) for text in turned)


def first_place(text, colour):
    return min(text.find(name) for name in spoken("colours", colour) if name in text)


def test_wishes_for_training_keep_to_their_side_and_name_their_pictures():
    rng = np.random.default_rng(4)
    for _ in range(300):
        wish = ask(rng).wish
        for thing, figure in zip(wish.scene.things, wish.figures or (0, 0), strict=False):
            assert figure or not held_out(*thing.combination)
        one = ask_of_pictures(rng)
        assert all((f"[Image {number}]" in one.prompt) == (number in one.wish.figures) for number in range(1, 10))
    unseen = [ask(rng, unseen=True).wish for _ in range(200)]
    assert all(is_held_out(wish.scene) for wish in unseen if not wish.edits)


def test_changes_say_the_new_colour_and_background():
    rng = np.random.default_rng(5)
    kinds = set()
    for _ in range(300):
        one = ask_for_change(rng)
        kinds.add(frozenset(name for _, name in choices(one.wish)))
        text = one.prompt.lower()
        if one.wish.new_colour:
            assert any(name in text for name in spoken("colours", one.wish.new_colour))
        if one.wish.new_background:
            assert any(name in text for name in spoken("backgrounds", one.wish.new_background))
    assert len(kinds) == 3
