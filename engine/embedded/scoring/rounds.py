"""A round of scoring: clips are made, written, looked at and judged one by one; then counted, and shuffled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from engine.embedded.scoring.checks import Case, Check
from engine.embedded.scoring.clip_file import watch
from engine.embedded.scoring.judge import Answers, Seen, in_step, judge, look, tally
from engine.embedded.scoring.makers import Maker, geometry_of
from engine.embedded.scoring.tasks import Task, bounces
from engine.embedded.scoring.wilson import Tally
from engine.embedded.world.scene import Motion, Speed

_Value = TypeVar("_Value")

CLICKS = "clicks"
FEWEST = 3  # clips of a kind that can be shuffled: picture, sound and scene of different ones


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A clip that was made and judged; `seconds` it took to make."""

    task: Task
    path: Path
    seen: Seen
    answers: Answers
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)


def score(tasks: Sequence[Task], maker: Maker, folder: Path, name: str, check: Check | None = None) -> list[Scored]:
    """Make and judge the clip of each task; the files are `folder`/`name`-000.mp4 and so on.

    A bar on stderr, on a terminal only, shows how far it is.
    """
    console = Console(stderr=True)
    shown = track(tasks, f"{name:12}", console=console, disable=not console.is_terminal)
    return [_scored(task, maker, folder / f"{name}-{place:03}.mp4", check) for place, task in enumerate(shown)]


def tally_of(scored: Iterable[Scored]) -> dict[str, Tally]:
    """Counts of every criterion that was asked of a clip."""
    return tally(one.answers for one in scored)


def control(scored: Sequence[Scored], seed: int) -> dict[str, Tally]:
    """Counts when each clip is judged by the scene of another, and with the sound of a third, all with as many things.

    Clicks are shuffled among the clips that were to bounce: the picture of one, the sound of another that was to bounce
    at another speed (those of one speed click alike). Kinds of which there are fewer than three are left out. What is
    left is chance.
    """
    rng = np.random.default_rng(seed)
    num_frames = geometry_of().num_frames
    answers: list[Answers] = []
    for kind in sorted({len(one.task.scene.things) for one in scored}):
        alike = [one for one in scored if len(one.task.scene.things) == kind]
        for one, other, third in _turned(alike, rng):
            heard = other.seen
            mixed = replace(one.seen, tones=heard.tones, clicks=heard.clicks, loudness=heard.loudness)
            judged = judge(mixed, third.task.scene, num_frames)
            answers.append({name: right for name, right in judged.items() if name != CLICKS})
    bouncing = [one for one in scored if bounces(one.task.scene)]
    for one, other in _of_other_rhythm(bouncing, rng):
        drawn = sorted(frame for thing in one.seen.things for frame in thing.touches)
        answers.append({CLICKS: [bool(drawn) and in_step(drawn, other.seen.clicks, num_frames)]})
    return tally(answers)


def mean_seconds(scored: Sequence[Scored]) -> float:
    """Seconds a clip took to make, the median of them: the first is slower than the rest."""
    return float(np.median([one.seconds for one in scored])) if scored else float("nan")


def _turned(values: Sequence[_Value], rng: np.random.Generator) -> Iterator[tuple[_Value, _Value, _Value]]:
    """Each value with two others."""
    if len(values) < FEWEST:
        return
    mixed = [values[int(place)] for place in rng.permutation(len(values))]
    yield from zip(mixed, mixed[1:] + mixed[:1], mixed[2:] + mixed[:2], strict=True)


def _of_other_rhythm(bouncing: Sequence[Scored], rng: np.random.Generator) -> Iterator[tuple[Scored, Scored]]:
    """Each clip with one whose things bounce at other speeds, where there is one."""
    for one in bouncing:
        others = [other for other in bouncing if _rhythm(other).isdisjoint(_rhythm(one))]
        if others:
            yield one, others[int(rng.integers(len(others)))]


def _rhythm(one: Scored) -> set[Speed]:
    return {thing.speed for thing in one.task.scene.things if thing.motion is Motion.BOUNCE}


def _scored(task: Task, maker: Maker, path: Path, check: Check | None) -> Scored:
    seconds = maker.make(task, path)
    clip = watch(path)
    seen = look(clip)
    judged = judge(seen, task.scene, len(clip.frames))
    answers = {name: right for name, right in judged.items() if name in task.counted and right}
    more, figures = check(Case(task, clip, seen, maker)) if check else ({}, {})
    return Scored(task, path, seen, answers | more, seconds, figures)
