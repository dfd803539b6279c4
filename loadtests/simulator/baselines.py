"""Policies to compare with: fixed degrees, first come first served, no preemption, no fairness."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from deployment.scheduler.layout import FreeRanks
from deployment.scheduler.values import GangPlan, GangState, Start
from hhray.geometry import Resolution
from hhray.request import ShapeKey
from hhray.tasks import QueuedTask

PER_RESOLUTION = {Resolution.P256: 1, Resolution.P480: 2, Resolution.P720: 4, Resolution.P1080: 8}


class FixedDegrees:
    """First come, first served; each clip keeps one block of a fixed number of ranks to its end.

    With `backfill` a clip that finds no block lets those behind it go first.
    """

    def __init__(self, degree_of: Callable[[str], int], backfill: bool) -> None:
        self._degree_of, self._backfill = degree_of, backfill
        self._queues: dict[int, deque[QueuedTask]] = {}

    def add(self, tasks: Iterable[QueuedTask]) -> None:
        """Add tasks in order of their arrival."""
        for task in tasks:
            self._queues.setdefault(self._degree_of(task.bucket), deque()).append(task)

    def plan(self, gang: GangState, now: float) -> GangPlan:  # noqa: ARG002 - a scheduler is asked with the time
        """Begin as many as find a block; what runs stays where it is."""
        free = FreeRanks(gang.num_ranks, (batch.block for batch in gang.batches if batch.block))
        starts = []
        for queue in self._in_order():
            degree = self._degree_of(queue[0].bucket)
            while queue and (block := free.choose(degree, None, from_above=degree == 1)) is not None:
                if block.num_ranks < degree or not (self._backfill or self._is_first(queue)):
                    break
                free.take(block)
                task = queue.popleft()
                starts.append(Start((task.task_id,), task.bucket, block))
        return GangPlan(tuple(starts), {batch.batch_id: batch.block for batch in gang.batches if not batch.busy})

    def _in_order(self) -> list[deque[QueuedTask]]:
        return sorted((queue for queue in self._queues.values() if queue), key=lambda queue: queue[0].sequence)

    def _is_first(self, queue: deque[QueuedTask]) -> bool:
        return self._in_order()[0] is queue


def fifo(degree: int) -> FixedDegrees:
    """Every clip on as many ranks."""
    return FixedDegrees(lambda _: degree, backfill=False)


def per_resolution() -> FixedDegrees:
    """1, 2, 4 and 8 ranks for 256P, 480P, 720P and 1080P, with backfill."""
    return FixedDegrees(lambda bucket: PER_RESOLUTION[ShapeKey.parse(bucket).resolution], backfill=True)
