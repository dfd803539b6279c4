"""Compares what is seen and heard in a clip with the scene that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.embedded.scoring.clip_file import Watched
from engine.embedded.scoring.hearing import clicks, loudness, tones
from engine.embedded.scoring.mouth import lag, opening
from engine.embedded.scoring.outline import shape_of
from engine.embedded.scoring.path import SeenTrack, motion_of, seen_track, touches
from engine.embedded.scoring.sprites import background_of, sprites
from engine.embedded.scoring.wilson import Tally
from engine.embedded.world.scene import Motion, Scene
from engine.embedded.world.voice import openness
from hhray.geometry import FRAMES_PER_SECOND

CRITERIA = ("colour", "shape", "direction", "tone", "clicks", "mouth", "speech")
TOLERANCE = 2  # frames
AGREEMENT = 0.6  # least correlation of mouth and loudness
SAME_PHRASE = 0.85  # and of the loudness and that of the phrase asked for
Answers = dict[str, list[bool]]


@dataclass(frozen=True, slots=True)
class SeenThing:
    """One thing of a clip. `touches` are frames in which it is at the ground, if it bounces; `track` is where it is."""

    colour: str
    shape: str
    motion: Motion
    touches: tuple[int, ...]
    track: SeenTrack


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is measured in a clip, whatever was asked for; `clicks` are in frames; `mouth` is how far a mouth is
    open and `loudness` how loud it is, frame by frame; `background` is the nearest of palette.BACKGROUNDS."""

    things: tuple[SeenThing, ...]
    background: str
    tones: frozenset[str]
    clicks: tuple[float, ...]
    mouth: tuple[float, ...]
    loudness: tuple[float, ...]


def look(clip: Watched) -> Seen:
    """Measure a clip."""
    found = sprites(clip.frames)
    things = []
    for sprite in found:
        track = seen_track(sprite.mask)
        motion = motion_of(track)
        lowest = tuple(int(frame) for frame in touches(track)) if motion is Motion.BOUNCE else ()
        things.append(SeenThing(sprite.colour, shape_of(sprite.mask), motion, lowest, track))
    clicked = tuple(float(time) * FRAMES_PER_SECOND for time in clicks(clip.sound))
    mouth = tuple(opening(clip.frames, found[0].mask)) if found else (0.0,) * len(clip.frames)
    loud = tuple(loudness(clip.sound, len(clip.frames)))
    behind = background_of(clip.frames)
    return Seen(tuple(things), behind, frozenset(tones(clip.sound)), clicked, mouth, loud)


def judge(seen: Seen, scene: Scene, num_frames: int) -> Answers:
    """Which criteria are met, one answer a thing for colour, shape and direction, at most one a clip for the rest."""
    answers: Answers = {name: [] for name in CRITERIA}
    if scene.face:
        answers["colour"].append([thing.colour for thing in seen.things[:1]] == [scene.face.colour])
        said = openness(scene.face, np.arange(num_frames) / FRAMES_PER_SECOND)
        answers["mouth"].append(_go_together(seen.mouth, seen.loudness, AGREEMENT))
        answers["speech"].append(_go_together(said, seen.loudness, SAME_PHRASE))
        return answers
    by_colour = {thing.colour: thing for thing in seen.things[: len(scene.things)]}
    for wanted in scene.things:
        # a thing of a wrong colour is still looked at: it is the one that no other thing claims
        spare = [one for name, one in by_colour.items() if name not in {thing.colour for thing in scene.things}]
        thing = by_colour.get(wanted.colour) or (spare[0] if spare else None)
        answers["colour"].append(wanted.colour in by_colour)
        answers["shape"].append(thing is not None and thing.shape == wanted.shape)
        answers["direction"].append(thing is not None and thing.motion is wanted.motion)
    answers["tone"].append(seen.tones == {one.shape for one in scene.things if one.motion is not Motion.STILL})
    drawn = sorted(frame for thing in seen.things for frame in thing.touches)
    if any(thing.motion is Motion.BOUNCE for thing in scene.things):
        answers["clicks"].append(bool(drawn) and in_step(drawn, seen.clicks, num_frames))
    return answers


def in_step(drawn: Iterable[float], heard: Iterable[float], num_frames: int) -> bool:
    """Whether each drawn touch has its click within two frames, and each click its touch; those near the clip's ends
    may lack theirs."""
    touched, clicked = np.array(list(drawn), dtype=float), np.array(list(heard), dtype=float)
    return _all_near(touched, clicked, num_frames) and _all_near(clicked, touched, num_frames)


def tally(answers: Iterable[Answers]) -> dict[str, Tally]:
    """Counts over many clips, of the criteria that any of them was asked."""
    total: dict[str, Tally] = {}
    for one in answers:
        for name, right in one.items():
            for each in right:
                total.setdefault(name, Tally()).add(each)
    return total


def _all_near(these: NDArray[np.float64], others: NDArray[np.float64], num_frames: int) -> bool:
    inner = these[(these > TOLERANCE) & (these < num_frames - 1 - TOLERANCE)]
    return all(len(others) > 0 and np.abs(others - one).min() <= TOLERANCE for one in inner)


def _go_together(opened: Sequence[float] | NDArray[np.float64], loud: Sequence[float], least: float) -> bool:
    best, agreement = lag(np.asarray(opened), np.asarray(loud))
    return abs(best) <= TOLERANCE and agreement >= least
