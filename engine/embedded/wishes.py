"""Draws wishes with their prompts: scenes, things of reference pictures, and changes of a source video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from numpy.random import Generator

from engine.embedded.edits import edit_in_chinese, edit_in_english
from engine.embedded.meaning import NUM_FIGURES, Wish
from engine.embedded.world import chinese, english
from engine.embedded.world.chance import joined, pick, sometimes, usual
from engine.embedded.world.grammar import (
    CHINESE_SHARE,
    finished_chinese,
    finished_english,
    said,
    understood,
)
from engine.embedded.world.palette import BACKGROUNDS, COLOURS
from engine.embedded.world.sampling import held_out, sample
from engine.embedded.world.scene import Motion, Scene, Speed, Thing
from engine.embedded.world.words import CHINESE, ENGLISH

REFERENCE_SHARE, EDIT_SHARE, SPARSE_SHARE = 0.17, 0.15, 0.03
USUAL_SHAPE, USUAL_COLOUR, USUAL_MOTION = "ball", "red", Motion.STILL
SPARSE = ("shape", "colour", "motion")
BOTH_SHARE = 0.3  # of edits, that change colour and background


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, and the wish as it is to be understood from it (see grammar.Said)."""

    prompt: str
    wish: Wish


def ask(rng: Generator, *, unseen: bool = False) -> Asked:
    """A wish of any kind; scenes are for training, or with `unseen` of combinations that are kept out of it."""
    kind = rng.random()
    if kind < REFERENCE_SHARE:
        return ask_of_pictures(rng, unseen=unseen)
    if kind < REFERENCE_SHARE + EDIT_SHARE:
        return ask_for_change(rng)
    scene = sample(rng, unseen=unseen)
    if kind > 1 - SPARSE_SHARE and not unseen and len(scene.things) == 1:
        return _sparse(scene, rng)
    wanted = said(scene, rng)
    return Asked(wanted.prompt, Wish(wanted.scene))


def ask_of_pictures(rng: Generator, *, unseen: bool = False) -> Asked:
    """A scene in which at least one thing is that of a reference picture: "[Image 1] moving right"."""
    scene = Scene()
    while not scene.things:
        scene = understood(sample(rng, unseen=unseen), rng)
    figures = _figures(len(scene.things), rng)
    numbers = dict(zip(scene.things, figures, strict=True))
    if sometimes(rng, CHINESE_SHARE):
        text = chinese.in_chinese(scene.things, rng, _referring(numbers, chinese.noun, _chinese_reference, rng))
        return Asked(finished_chinese(text, scene.background, rng), Wish(scene, figures))
    text = english.in_english(scene.things, rng, _referring(numbers, english.noun, _english_reference, rng))
    return Asked(finished_english(text, scene.background, rng), Wish(scene, figures))


def ask_for_change(rng: Generator) -> Asked:
    """A change of a source video's colour, of its background, or of both."""
    kind = rng.random()
    colour = pick(rng, tuple(COLOURS)) if kind > (1 - BOTH_SHARE) / 2 else None
    background = pick(rng, tuple(BACKGROUNDS)) if colour is None or kind > 1 - BOTH_SHARE else None
    say = edit_in_chinese if sometimes(rng, CHINESE_SHARE) else edit_in_english
    return Asked(say(colour, background, rng), Wish(Scene(), new_colour=colour, new_background=background))


def _figures(count: int, rng: Generator) -> tuple[int, ...]:
    """Numbers of the pictures that show the things, 0 for things that are described; mostly in their order."""
    if count == 1:
        return (1 if sometimes(rng, 0.5) else int(rng.integers(1, NUM_FIGURES + 1)),)
    first, second = (1, 2) if sometimes(rng, 0.4) else rng.permutation(NUM_FIGURES)[:2] + 1
    pair = int(first), int(second)
    return pick(rng, (pair, pair, (pair[0], 0), (0, pair[0])))


def _referring(
    numbers: dict[Thing, int],
    described: Callable[[Thing, Generator], str],
    reference: Callable[[Thing, int, Generator], str],
    rng: Generator,
) -> Callable[[Thing], str]:
    """How a thing is called: by its picture, or by what it looks like."""
    return lambda thing: reference(thing, numbers[thing], rng) if numbers[thing] else described(thing, rng)


def _english_reference(thing: Thing, number: int, rng: Generator) -> str:
    name, bulk = f"[Image {number}]", english.bulk_word(thing, rng)
    if sometimes(rng, 0.45):
        return joined(english.determined(bulk, rng) if bulk else "", name)
    # its shape may be said, which is the picture's all the same
    nouns = ("thing", "object", "shape", usual(rng, ENGLISH.shapes[thing.shape]), "figure")
    colour = usual(rng, ENGLISH.colours[thing.colour]) if sometimes(rng, 0.2) else ""
    where = pick(rng, ("of", "of", "from", "in", "shown in"))
    return f"{pick(rng, ('the ', 'the ', ''))}{joined(bulk, colour, pick(rng, nouns))} {where} {name}"


def _chinese_reference(thing: Thing, number: int, rng: Generator) -> str:
    name, bulk = f"[Image {number}]", chinese.bulk_word(thing, rng)
    if not bulk and sometimes(rng, 0.6):
        return name
    nouns = ("东西", "物体", "图形", usual(rng, CHINESE.shapes[thing.shape]))
    return f"{name}{pick(rng, ('的', '里的', '中的'))}{bulk}{pick(rng, nouns)}"


def _sparse(scene: Scene, rng: Generator) -> Asked:
    """A prompt that leaves out shape, colour or motion of a thing: it means a ball, red, that stands still."""
    scene = understood(scene, rng)
    thing = scene.things[0]
    omitted = pick(rng, SPARSE)
    usual_ones = (
        replace(thing, shape=USUAL_SHAPE),
        replace(thing, colour=USUAL_COLOUR),
        replace(thing, motion=USUAL_MOTION, speed=Speed.NORMAL),
    )
    meant = dict(zip(SPARSE, usual_ones, strict=True))[omitted]
    if held_out(*meant.combination):
        whole = said(scene, rng)
        return Asked(whole.prompt, Wish(whole.scene))
    scene = replace(scene, things=(meant,))
    language = chinese if sometimes(rng, CHINESE_SHARE) else english
    noun = language.noun(meant, rng, frozenset({omitted}))
    text = noun if omitted == "motion" else language.clause(noun, meant, rng)
    finished = finished_chinese if language is chinese else finished_english
    return Asked(finished(text, scene.background, rng), Wish(scene))
