"""Histogram arithmetic of the metrics, free of any database: one event per ended task, added up per label set.

Sums are kept in whole microseconds, so that they are the same in whatever order, and by whomever, events are added.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hhray.metrics import BUCKETS_SECONDS, CLIP_SECONDS, STAGE_SECONDS, RollupRow
from hhray.tasks import Stage, Task

NUM_BUCKETS = len(BUCKETS_SECONDS) + 1  # the last is +Inf
SeriesKey = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class ClipEvent:
    """What the metrics keep of one ended task: its labels (hhray.metrics.CLIP_LABELS) and its seconds."""

    resolution: str
    duration: int
    mode: str
    outcome: str
    clip_milliseconds: int
    stages: dict[str, float]

    def observations(self) -> Iterator[tuple[SeriesKey, int]]:
        """Series and microseconds of each observation."""
        labels = (self.resolution, str(self.duration), self.mode, self.outcome)
        yield (CLIP_SECONDS.name, labels), self.clip_milliseconds * 1000
        for stage, seconds in self.stages.items():
            yield (STAGE_SECONDS.name, (stage, *labels)), round(seconds * 1_000_000)


def event_of(task: Task) -> ClipEvent:
    """The event of a task that has ended.

    Raises:
        ValueError: it has not.
    """
    if task.ended_at is None:
        raise ValueError(f"task {task.task_id} has not ended: it is {task.state}")
    return ClipEvent(
        resolution=task.request.resolution.value,
        duration=task.request.duration,
        mode=task.request.mode.value,
        outcome=task.state.value.lower(),
        clip_milliseconds=round((task.ended_at - task.submitted_at) * 1000),
        stages=task.stages,
    )


def with_queue_wait(task: Task, stages: dict[str, float]) -> dict[str, float]:
    """`stages` with the seconds from submit to the claim of this attempt; unchanged when none claimed the task."""
    if task.started_at is None:
        return stages
    return {Stage.QUEUE_WAIT.value: round(task.started_at - task.submitted_at, 3), **stages}


@dataclass(slots=True)
class Series:
    """One label set of one histogram while it is added up."""

    counts: list[int] = field(default_factory=lambda: [0] * NUM_BUCKETS)
    sum_microseconds: int = 0

    def observe(self, microseconds: int) -> None:
        self.counts[bisect_left(BUCKETS_SECONDS, microseconds / 1_000_000)] += 1
        self.sum_microseconds += microseconds


class Rollup(dict[SeriesKey, Series]):
    """All series, by metric name and label values."""

    def add(self, events: Iterable[ClipEvent]) -> None:
        """Count events in."""
        for event in events:
            for key, microseconds in event.observations():
                self.setdefault(key, Series()).observe(microseconds)

    def rows(self) -> list[RollupRow]:
        """What the metrics endpoint reads, in a fixed order."""
        return [
            RollupRow(metric, labels, tuple(series.counts), series.sum_microseconds / 1_000_000)
            for (metric, labels), series in sorted(self.items(), key=lambda item: item[0])
        ]
