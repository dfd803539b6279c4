"""Scores as tables for people and as plain values for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.table import Table

from engine.embedded.scoring.rounds import Scored, mean_seconds, tally_of
from engine.embedded.scoring.wilson import Tally
from hhray.console import table

Tallies = Mapping[str, Tally]


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one mode's tasks: counts, those of true renders of the same tasks, and those of shuffled clips."""

    name: str
    num_clips: int
    seconds: float  # a clip, the median
    scores: Tallies
    calibration: Tallies = field(default_factory=dict)
    shuffled: Tallies = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)

    def table(self) -> Table:
        """One row a criterion."""
        made = table(
            [self.name, "score (95 % interval)", "true renders", "shuffled"],
            [[name, *(_cell(one, name) for one in self._columns)] for name in self.scores],
        )
        clips = f"{self.num_clips} clips, {self.seconds:.2f} s each"
        made.caption = ", ".join([clips, *(f"{name} {value:.3g}" for name, value in self.figures.items())])
        return made

    def facts(self) -> dict[str, object]:
        """The same as values."""
        return {
            "clips": self.num_clips,
            "seconds_per_clip": round(self.seconds, 3),
            "scores": values(self.scores),
            "calibration": values(self.calibration),
            "shuffled": values(self.shuffled),
            "figures": {name: round(value, 4) for name, value in self.figures.items()},
        }

    @property
    def _columns(self) -> tuple[Tallies, ...]:
        return self.scores, self.calibration, self.shuffled


def round_of(
    name: str, scored: Sequence[Scored], true: Sequence[Scored] = (), shuffled: Tallies | None = None
) -> Round:
    """Count what was scored, beside what was scored of true renders of the same tasks."""
    named = {name for one in scored for name in one.figures}
    figures = {name: float(np.mean([one.figures[name] for one in scored if name in one.figures])) for name in named}
    return Round(
        name,
        len(scored),
        mean_seconds(scored),
        tally_of(scored),
        tally_of(true),
        shuffled or {},
        dict(sorted(figures.items())),
    )


def values(tallies: Tallies) -> dict[str, dict[str, float]]:
    """Share, interval and counts of each criterion that was asked."""
    said = {}
    for name, one in tallies.items():
        low, high = one.interval()
        said[name] = {"share": round(one.share, 4), "low": round(low, 4), "high": round(high, 4)}
        said[name] |= {"right": one.right, "total": one.total}
    return said


def differences(student: Tallies, teacher: Tallies) -> dict[str, float]:
    """Points (hundredths) by which the teacher is ahead, criterion by criterion."""
    return {
        name: 100 * (teacher[name].share - one.share) for name, one in student.items() if name in teacher and one.total
    }


def _cell(tallies: Tallies, name: str) -> str:
    return str(tallies[name]) if name in tallies else ""
