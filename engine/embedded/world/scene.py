"""What a clip of the made world shows: plain data, the same clip every time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hhray.request import Language


class Motion(StrEnum):
    """How a thing moves."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    BOUNCE = "bounce"
    CIRCLE = "circle"
    GROW = "grow"
    STILL = "still"


class Speed(StrEnum):
    SLOW = "slow"
    NORMAL = "normal"
    FAST = "fast"


class Bulk(StrEnum):
    """How large a thing is."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class Lane:
    """The part of the picture a thing moves in, as shares of its width and height."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0


@dataclass(frozen=True, slots=True)
class Thing:
    """A moving shape. `start` and `across`, in [0, 1), say where on its path it begins and how the path lies."""

    shape: str
    colour: str
    motion: Motion
    speed: Speed = Speed.NORMAL
    bulk: Bulk = Bulk.MEDIUM
    start: float = 0.0
    across: float = 0.5
    lane: Lane = Lane()

    @property
    def combination(self) -> tuple[str, str, Motion]:
        return self.shape, self.colour, self.motion


@dataclass(frozen=True, slots=True)
class Face:
    """A face that says a phrase over and over; `phrase` is an index into phrases.PHRASES[language]."""

    colour: str
    language: Language
    phrase: int
    across: float = 0.5


@dataclass(frozen=True, slots=True)
class Scene:
    """One or two things, or a face, before a background."""

    things: tuple[Thing, ...] = ()
    face: Face | None = None
    background: str = "white"
