"""Says in words what a scene shows, in many ways: `a red ball moving right`, `一个绿色的球向左移动`.

Colour, shape and motion are always said; size, speed and background often. What is not said takes its usual value:
medium size, normal speed, a white background. Two things: the first is on top or on the left
(sampling.lanes_of), and is named first unless both places are said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from numpy.random import Generator

from engine.embedded.world import chinese, english
from engine.embedded.world.chance import pick, sometimes
from engine.embedded.world.face_grammar import face_prompt
from engine.embedded.world.scene import Bulk, Motion, Scene, Speed, Thing
from engine.embedded.world.words import ENGLISH

CHINESE_SHARE = 0.35
TRADITIONAL_SHARE = 0.1  # of the Chinese
SAID_SHARE = 0.5  # of sizes, speeds, backgrounds
LEAD_SHARE = 0.3
USUAL_BACKGROUND = "white"
SAID_WHITE_SHARE = 0.3  # of white backgrounds, which may go without saying


@dataclass(frozen=True, slots=True)
class Said:
    """A prompt, and the scene as it is to be understood from it: what the prompt does not say has its usual value.

    No prompt says `start` and `across` of a thing or a face: these are as they were.
    """

    prompt: str
    scene: Scene


def said(scene: Scene, rng: Generator) -> Said:
    """A prompt for the scene, one of its many, that leaves out some sizes, speeds and backgrounds."""
    shown = understood(scene, rng)
    return Said(exact_prompt(shown, rng), shown)


def prompt(scene: Scene, rng: Generator) -> str:
    """The prompt of `said`."""
    return said(scene, rng).prompt


def plain_prompt(thing: Thing) -> str:
    """The shortest prompt for one thing, always the same: "a red ball moving right"."""
    colour, shape = ENGLISH.colours[thing.colour][0], ENGLISH.shapes[thing.shape][0]
    return f"{english.article(colour)} {colour} {shape} {ENGLISH.motions[thing.motion][0]}"


def understood(scene: Scene, rng: Generator) -> Scene:
    """The scene with the usual values for those of its sizes, speeds and backgrounds that are not to be said."""
    things = tuple(
        replace(
            thing,
            bulk=thing.bulk if sometimes(rng, SAID_SHARE) else Bulk.MEDIUM,
            # nothing is slow at standing still
            speed=thing.speed if sometimes(rng, SAID_SHARE) and thing.motion is not Motion.STILL else Speed.NORMAL,
        )
        for thing in scene.things
    )
    return replace(
        scene, things=things, background=scene.background if sometimes(rng, SAID_SHARE) else USUAL_BACKGROUND
    )


def exact_prompt(scene: Scene, rng: Generator) -> str:
    """A prompt that says all of the scene but, mostly, what is usual."""
    if scene.face:
        return face_prompt(scene.face, background_said(scene.background, rng), rng)
    if sometimes(rng, CHINESE_SHARE):
        text = chinese.in_chinese(scene.things, rng, partial(chinese.noun, rng=rng))
        return finished_chinese(text, scene.background, rng)
    text = english.in_english(scene.things, rng, partial(english.noun, rng=rng))
    lead = pick(rng, english.LEADS) if sometimes(rng, LEAD_SHARE) else ""
    return finished_english(lead + text, scene.background, rng)


def finished_english(text: str, background: str, rng: Generator) -> str:
    """With its background, and sometimes as a sentence is written."""
    behind = background_said(background, rng)
    text = english.on_background(text, behind, rng) if behind else text
    return f"{text[0].upper()}{text[1:]}." if sometimes(rng, 0.3) else text


def finished_chinese(text: str, background: str, rng: Generator) -> str:
    """With its background, sometimes in traditional characters."""
    behind = background_said(background, rng)
    text = chinese.on_background(text, behind, rng) if behind else text
    return text.translate(chinese.TRADITIONAL) if sometimes(rng, TRADITIONAL_SHARE) else text


def background_said(background: str, rng: Generator) -> str:
    """The background's name, or nothing for a white one that goes without saying."""
    return "" if background == USUAL_BACKGROUND and not sometimes(rng, SAID_WHITE_SHARE) else background
