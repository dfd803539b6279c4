"""Draws scenes, and keeps a fixed part of the combinations out of training.

One motion in eight is held out for each shape and colour, one colour in eight for each shape and motion, and one shape
in eight for each colour and motion: nothing is new in a held-out scene but the combination. Faces: of each language and
phrase one colour in eight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from numpy.random import Generator

from engine.embedded.world.palette import BACKGROUNDS, COLOURS
from engine.embedded.world.phrases import PHRASES
from engine.embedded.world.scene import Bulk, Face, Lane, Motion, Scene, Speed, Thing
from engine.embedded.world.shapes import OUTLINES
from hhray.request import Language

Value = TypeVar("Value")

SHAPES, MOTIONS = tuple(OUTLINES), tuple(Motion)
COLOUR_NAMES = tuple(COLOURS)
HELD_OUT_STEPS = (1, 3, 5)  # odd, so that each shape, colour and motion is held out equally often
FACE_SHARE, PAIR_SHARE = 0.2, 0.25
SPREAD = 0.12  # of where things that no picture shows begin, about the middle of where they could
PHASE_SPREAD = 0.03  # of when in their period: what bounces is dropped, and a click must not be a guess
OFTEN = {Motion.BOUNCE: 3, Motion.CIRCLE: 2}  # times as often in training as the others, which are learned sooner
TRAINED_MOTIONS = tuple(motion for motion in MOTIONS for _ in range(OFTEN.get(motion, 1)))
ROWS = (Lane(bottom=0.5), Lane(top=0.5))
COLUMNS = (Lane(right=0.5), Lane(left=0.5))


def held_out(shape: str, colour: str, motion: Motion) -> bool:
    """Whether no scene for training has this combination."""
    places = SHAPES.index(shape), COLOUR_NAMES.index(colour), MOTIONS.index(motion)
    return sum(step * place for step, place in zip(HELD_OUT_STEPS, places, strict=True)) % len(SHAPES) == 2


def face_held_out(face: Face) -> bool:
    """Whether no scene for training has a face of this colour say this."""
    place = tuple(Language).index(face.language) + 3 * face.phrase + COLOUR_NAMES.index(face.colour)
    return place % len(COLOUR_NAMES) == 2


def is_held_out(scene: Scene) -> bool:
    """Whether every thing, or the face, of the scene is a held-out combination."""
    faces = [face_held_out(scene.face)] if scene.face else []
    return all(faces + [held_out(*thing.combination) for thing in scene.things])


def sample(rng: Generator, *, unseen: bool = False, wide: bool = False) -> Scene:
    """A scene for training, or with `unseen` one whose combinations are all held out.

    No prompt says where things begin: it is about the middle of where they could, so that few steps need not choose
    between places far apart. With `wide` it is anywhere, for scenes of which a picture shows it.
    """
    background = str(rng.choice(list(BACKGROUNDS)))
    kind = rng.random()
    if kind < FACE_SHARE:
        return Scene(face=sample_face(rng, unseen=unseen, wide=wide), background=background)
    if kind >= FACE_SHARE + PAIR_SHARE:
        return Scene((sample_thing(rng, unseen=unseen, wide=wide),), background=background)
    return Scene(_pair(rng, unseen, wide), background=background)


def sample_thing(rng: Generator, *, unseen: bool = False, wide: bool = False) -> Thing:
    """A thing of a combination that is held out or, without `unseen`, is not."""
    while True:
        motion = _one(rng, MOTIONS if unseen else TRAINED_MOTIONS)
        shape, colour = _one(rng, SHAPES), _one(rng, COLOUR_NAMES)
        if held_out(shape, colour, motion) == unseen:
            break
    speed, bulk = _one(rng, tuple(Speed)), _one(rng, tuple(Bulk))
    spread = PHASE_SPREAD if motion in (Motion.BOUNCE, Motion.CIRCLE) else SPREAD
    return Thing(shape, colour, motion, speed, bulk, _free(rng, wide, spread), _free(rng, wide))


def sample_face(rng: Generator, *, unseen: bool = False, wide: bool = False) -> Face:
    """A face, likewise."""
    while True:
        language = _one(rng, tuple(Language))
        phrase = int(rng.integers(len(PHRASES[language])))
        face = Face(_one(rng, COLOUR_NAMES), language, phrase, _free(rng, wide))
        if face_held_out(face) == unseen:
            return face


def lanes_of(first: Motion, second: Motion) -> tuple[Lane, Lane]:
    """Where two things move: one above the other if they go to the sides, else side by side; the first named is on top
    or on the left."""
    sideways = (Motion.LEFT, Motion.RIGHT)
    flat = (*sideways, Motion.GROW, Motion.STILL)
    rows = first in flat and second in flat and (first in sideways or second in sideways)
    return ROWS if rows else COLUMNS


def _pair(rng: Generator, unseen: bool, wide: bool) -> tuple[Thing, ...]:
    """Two things of different shape and colour, each in its half of the picture."""
    while True:
        pair = tuple(sample_thing(rng, unseen=unseen, wide=wide) for _ in range(2))
        if pair[0].shape != pair[1].shape and pair[0].colour != pair[1].colour:
            lanes = lanes_of(pair[0].motion, pair[1].motion)
            return tuple(replace(thing, lane=lane) for thing, lane in zip(pair, lanes, strict=True))


def _free(rng: Generator, wide: bool, spread: float = SPREAD) -> float:
    share = float(rng.random())
    return share if wide else 0.5 + spread * (2 * share - 1)


def _one(rng: Generator, values: Sequence[Value]) -> Value:
    return values[int(rng.integers(len(values)))]
