"""In what order the transformer is taught: short clips first, then the native length, then other shapes as well."""

from __future__ import annotations

from dataclasses import dataclass, field

from hhray.geometry import Ratio

WARM_UP = 60  # steps
LAST_SHARE = 0.35  # of all steps, over which the rate falls to a twentieth
LOWEST = 0.05


@dataclass(frozen=True, slots=True)
class Course:
    """`steps` of `batch` clips of `num_latents` latent frames (8: 1.2 s, 20: 3 s, 32: 5 s).

    `begun`, `referring` and `editing` are shares of the steps. Ratios are drawn evenly; the most
    important stands there several times.
    """

    steps: int
    batch: int
    num_latents: int
    begun: float = 0.0
    referring: float = 0.0
    editing: float = 0.0
    ratios: tuple[Ratio, ...] = (Ratio.R16_9,)
    faster: float = 1.0  # times the plan's learning rate

    @property
    def kinds(self) -> dict[str, float]:
        """Kinds of lessons, and the share of each in the steps."""
        others = {"begun": self.begun, "referring": self.referring, "editing": self.editing}
        return {"plain": 1 - sum(others.values()), **others}


@dataclass(frozen=True, slots=True)
class Plan:
    """Courses one after another, and the highest learning rate."""

    courses: tuple[Course, ...]
    rate: float = 2e-3
    fresh: float = 0.4  # of a batch are scenes that were not seen yet
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(course.steps for course in self.courses))

    def course(self, step: int) -> Course:
        """The course that step `step`, counted from 0, belongs to; after the last, the last."""
        for course in self.courses:
            if step < course.steps:
                return course
            step -= course.steps
        return self.courses[-1]

    def rate_at(self, step: int) -> float:
        """The learning rate of step `step`: warmed up, level, then falling in a line."""
        left = (self.total - step) / (LAST_SHARE * self.total)
        return self.rate * self.course(step).faster * min(1.0, (step + 1) / WARM_UP, max(LOWEST, left))


MIXED = (Ratio.R16_9, Ratio.R16_9, Ratio.R16_9, Ratio.R9_16, Ratio.R1_1, Ratio.R4_3)
PLANS = {
    "cpu": Plan(
        (
            Course(300, 16, 8),
            Course(3900, 10, 20, begun=0.06, referring=0.08, editing=0.2),
            Course(1400, 10, 20, begun=0.16, referring=0.08, editing=0.16, ratios=MIXED),
            # that a first frame counts more than words is learned last, and late
            Course(650, 10, 20, begun=0.55, referring=0.05, editing=0.12, ratios=MIXED, faster=2.5),
            Course(1200, 10, 20, begun=0.25, referring=0.06, editing=0.12, ratios=MIXED, faster=1.2),
        )
    ),
    "gpu": Plan(
        (
            Course(1500, 64, 8),
            Course(6000, 64, 20, begun=0.1, referring=0.1, editing=0.1, ratios=MIXED),
            Course(2500, 32, 32, begun=0.1, referring=0.1, editing=0.1, ratios=MIXED),
        )
    ),
}
