"""What a prompt of the made world means, as the features its text encoder gives: four tokens of 64 channels.

Token 0 and 1 say what is asked of the first and second thing, token 2 of face and background, token 3 what is to be
changed in a source video. Each is made of groups: at most one channel of a group is on. A text encoder of the made
world predicts the probability of each channel (engine.embedded.codecs.text); the transformer is trained on the meaning
itself, so that neither has to wait for the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.embedded.world.palette import BACKGROUNDS, COLOURS
from engine.embedded.world.sampling import COLUMNS, ROWS
from engine.embedded.world.scene import Bulk, Lane, Motion, Scene, Speed
from engine.embedded.world.shapes import OUTLINES
from hhray.request import Language

TEXT_CHANNELS = 64
NUM_TOKENS = 4
FIRST_THING, SECOND_THING, BEHIND, CHANGE = range(NUM_TOKENS)
NUM_PHRASES = 6
NUM_FIGURES = 9
LANES = (Lane(), *ROWS, *COLUMNS)
ON = 2.0  # the value of a channel that is surely on

# The first channels name the token: which of the four, or the name of a picture.
NAMES = NUM_TOKENS + 1


@dataclass(frozen=True, slots=True)
class Group:
    """Channels `start` .. `start + len(values) - 1` of the tokens `tokens`: at most one of them is on."""

    name: str
    tokens: tuple[int, ...]
    start: int
    values: tuple[object, ...]


def _groups() -> tuple[Group, ...]:
    things = (FIRST_THING, SECOND_THING)
    shapes, colours, backgrounds = tuple(OUTLINES), tuple(COLOURS), tuple(BACKGROUNDS)
    layout: tuple[tuple[tuple[int, ...], tuple[tuple[str, tuple[object, ...]], ...]], ...] = (
        (
            things,
            (
                ("shape", shapes),
                ("colour", colours),
                ("motion", tuple(Motion)),
                ("speed", tuple(Speed)),
                ("bulk", tuple(Bulk)),
                ("lane", LANES),
                ("figure", tuple(range(1, NUM_FIGURES + 1))),
            ),
        ),
        (
            (BEHIND,),
            (
                ("background", backgrounds),
                ("face", colours),
                ("language", tuple(Language)),
                ("phrase", tuple(range(NUM_PHRASES))),
            ),
        ),
        ((CHANGE,), (("new colour", colours), ("new background", backgrounds))),
    )
    groups = []
    for tokens, named in layout:
        start = NAMES
        for name, values in named:
            groups.append(Group(name, tokens, start, values))
            start += len(values)
    return tuple(groups)


GROUPS = _groups()
_BY_NAME = {group.name: group for group in GROUPS}
# Where a change is said once more, as things are asked for: the transformer then need not learn colours twice.
_REPEATED = (
    ("new colour", FIRST_THING, "colour"),
    ("new colour", BEHIND, "face"),
    ("new background", BEHIND, "background"),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: a scene, or how a source video is to be changed.

    `figures` has, for each thing, the number of the reference picture that shows it, 0 for none: shape and colour are
    then the picture's. With `new_colour` or `new_background` it is an edit: the scene's things count for nothing.
    """

    scene: Scene
    figures: tuple[int, ...] = ()
    new_colour: str | None = None
    new_background: str | None = None

    @property
    def edits(self) -> bool:
        return self.new_colour is not None or self.new_background is not None


def choices(wish: Wish) -> dict[tuple[int, str], int]:
    """Which value of each group is on: (token, group name) -> its index; groups that are off are left out."""
    if wish.edits:
        new = {"new colour": wish.new_colour, "new background": wish.new_background}
        return {(CHANGE, name): _index(name, value) for name, value in new.items() if value is not None}
    scene = wish.scene
    said: dict[tuple[int, str], object] = {(BEHIND, "background"): scene.background}
    if scene.face:
        face = scene.face
        said |= {(BEHIND, "face"): face.colour, (BEHIND, "language"): face.language, (BEHIND, "phrase"): face.phrase}
    for token, thing in enumerate(scene.things):
        named = {"motion": thing.motion, "speed": thing.speed, "bulk": thing.bulk, "lane": thing.lane}
        figure = wish.figures[token] if wish.figures else 0
        look = {"figure": figure} if figure else {"shape": thing.shape, "colour": thing.colour}
        said |= {(token, name): value for name, value in {**named, **look}.items()}
    return {place: _index(place[1], value) for place, value in said.items()}


def meaning(wish: Wish) -> NDArray[np.float32]:
    """The features of a wish: float32 [4, 64]."""
    features = empty()
    for (token, name), index in choices(wish).items():
        features[token, _BY_NAME[name].start + index] = ON
    return with_changes(features)


def with_changes(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features [4, 64] in which a change is also said of the first thing, the face and the background; changed in
    place."""
    for name, token, group in _REPEATED:
        change, place = _BY_NAME[name], _BY_NAME[group].start
        features[token, place : place + len(change.values)] += features[
            CHANGE, change.start : change.start + len(change.values)
        ]
    return features


def figure_name(number: int) -> NDArray[np.float32]:
    """The features of a picture's name, `<Figure number>`: float32 [4, 64], four times the same."""
    features = np.zeros((NUM_TOKENS, TEXT_CHANNELS), np.float32)
    features[:, NUM_TOKENS] = ON
    features[:, _BY_NAME["figure"].start + number - 1] = ON
    return features


def empty() -> NDArray[np.float32]:
    """Four tokens that say nothing but which they are."""
    features = np.zeros((NUM_TOKENS, TEXT_CHANNELS), np.float32)
    features[range(NUM_TOKENS), range(NUM_TOKENS)] = ON
    return features


def _index(name: str, value: object) -> int:
    return _BY_NAME[name].values.index(value)
