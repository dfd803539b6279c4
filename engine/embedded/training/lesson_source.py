"""Lessons of a course, drawn by the number of the step alone, from pools of scenes that are kept between steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.random import Generator as Random
from torch import Generator

from engine.embedded.training.examples import Example, ExampleMaker, Pool
from engine.embedded.training.lessons import Lesson, begun, editing, plain, referring
from engine.embedded.training.plan import Course
from engine.embedded.world.canvas import native
from hhray.geometry import Ratio

POOL = 12_000
LESSONS: dict[str, Callable[[Sequence[Example], Random, Generator], Lesson]] = {
    "plain": plain,
    "begun": begun,
    "referring": referring,
}


class LessonSource:
    """Gives lessons; `fresh` of each are scenes that were not seen yet."""

    def __init__(self, fresh: float) -> None:
        self._fresh = fresh
        self._pools: dict[tuple[Ratio, int, bool, bool], Pool] = {}

    def take(self, course: Course, random: Random) -> Lesson:
        """A lesson of the course, of a ratio and a kind drawn by its shares."""
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        ratio = course.ratios[int(random.integers(len(course.ratios)))]
        kind = str(random.choice(list(course.kinds), p=list(course.kinds.values())))
        pool = self._pool(ratio, course.num_latents, kind)
        examples = pool.take(random, course.batch, round(self._fresh * course.batch))
        if kind == "editing":  # twice the tokens: half the clips
            return editing(examples[: max(1, course.batch // 2)], native(ratio), random, generator)
        return LESSONS[kind](examples, random, generator)

    def _pool(self, ratio: Ratio, num_latents: int, kind: str) -> Pool:
        # what begins with a given frame, or is an edit, may begin anywhere: it is seen where
        wide, faces = kind in ("begun", "editing"), kind != "referring"
        key = ratio, num_latents, wide, faces
        if key not in self._pools:
            self._pools[key] = Pool(ExampleMaker(native(ratio), wide=wide, faces=faces), num_latents, POOL)
        return self._pools[key]


def random_of(seed: int, step: int) -> Random:
    """What a step draws from."""
    return np.random.default_rng([seed, step])
