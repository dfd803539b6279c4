"""When a clip will be there: an estimate with its error bar, from plain values. No clock, no database.

A waiting task is behind the work that runs, behind the earlier work of its own flow (a tenant's tasks of one priority),
and behind as much of every other flow as the fair queue gives it meanwhile: flows take turns by weight, so that a flow
of weight w gets at most w / own weight of what this one gets, and no more than it has. All that, in GPU-seconds, is
spread over the ranks of the live engines; then the clip itself takes its own time.

The error bar is what four of five predictions keep: the model's recorded errors (actual over predicted seconds of
commands), or `DEFAULT_RELATIVE_ERROR` while fewer than `LEAST_RECORDED` are known; for a waiting task also half of what
it would be off if tasks were begun strictly in order of submit.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from deployment.store.api_verbs import WaitingTask
from hhray.metrics import PREDICTED_RATIO, RATIO_BUCKETS, RollupRow
from hhray.tasks import Priority

DEFAULT_RELATIVE_ERROR = 0.5
LEAST_RECORDED = 30
REPORT_SECONDS = 1.0  # what the progress of a running clip lags behind: the interval of reports
MOST_PACE, LEAST_PACE = 20.0, 0.05  # of measured over predicted seconds: beyond it a clock was wrong

Flow = tuple[str, Priority]


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until the clip is there, and how far off that may be: four of five end within +- `error_seconds`."""

    seconds: float
    error_seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """A task's place: tasks and GPU-seconds before it by time of submit, and those that the fair order puts before."""

    position: int
    gpu_seconds_before: float
    gpu_seconds_ahead: float


@dataclass(frozen=True, slots=True)
class _Entry:
    position: int
    before: float
    before_in_flow: float


class Line:
    """The tasks that wait, oldest first; `weight` is a flow's share relative to others."""

    def __init__(self, waiting: Sequence[WaitingTask], weight: Callable[[str, Priority], float]) -> None:
        self._weight = weight
        self._entries: dict[str, _Entry] = {}
        self._flows: dict[Flow, float] = {}
        before = 0.0
        for position, task in enumerate(waiting):
            flow = task.tenant, task.priority
            own = self._flows.get(flow, 0.0)
            self._entries[task.task_id] = _Entry(position, before, own)
            self._flows[flow] = own + task.gpu_seconds
            before += task.gpu_seconds
        self._total = before

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._entries

    def place(self, task: WaitingTask) -> Place:
        """Where a task stands; one that is not in the line yet comes last."""
        flow = task.tenant, task.priority
        last = _Entry(len(self._entries), self._total, self._flows.get(flow, 0.0))
        entry = self._entries.get(task.task_id, last)
        ours = self._weight(*flow)
        until = entry.before_in_flow + task.gpu_seconds
        others = sum(
            min(work, until * self._weight(*other) / ours) for other, work in self._flows.items() if other != flow
        )
        return Place(entry.position, entry.before, entry.before_in_flow + others)


def relative_error(histograms: Iterable[RollupRow]) -> float:
    """What four of five predictions kept, as a share of the prediction, from the recorded ratios of all tiers.

    Bounds are those of the histogram's buckets, so that the answer is never too small by more than counting allows.
    """
    rows = [row.counts for row in histograms if row.metric == PREDICTED_RATIO.name]
    counts = [sum(column) for column in zip(*rows, strict=True)]
    if sum(counts) < LEAST_RECORDED:
        return DEFAULT_RELATIVE_ERROR
    reached = list(accumulate(counts))
    lowest = bisect_left(reached, 0.1 * reached[-1])
    highest = bisect_left(reached, 0.9 * reached[-1])
    below = RATIO_BUCKETS[lowest - 1] if lowest else 0.0
    above = RATIO_BUCKETS[min(highest, len(RATIO_BUCKETS) - 1)]
    return max(1.0 - below, above - 1.0)


def waiting_eta(place: Place, running_left: float, own_seconds: float, ranks: float, error: float) -> Eta | None:
    """Of a task that waits; None while there are no ranks.

    Args:
        place: by `Line.place`.
        running_left: GPU-seconds that the running tasks still take.
        own_seconds: wall seconds of the clip itself, once it runs.
        ranks: of all live engines, times the share of their time that goes into clips.
        error: by `relative_error`.
    """
    if ranks <= 0:
        return None
    seconds = (running_left + place.gpu_seconds_ahead) / ranks + own_seconds
    order = abs(place.gpu_seconds_before - place.gpu_seconds_ahead) / ranks / 2
    return Eta(seconds, error * seconds + order)


def running_eta(units: Sequence[float], done: int, elapsed: float, error: float) -> Eta:
    """Of a task that runs.

    Args:
        units: predicted wall seconds of every step and of every part of the decode, in order.
        done: steps that were reported as done.
        elapsed: seconds since the attempt began; with the steps done they give the pace of this very clip.
        error: by `relative_error`; what is left of it once the clip's own pace is known shrinks with every step.
    """
    predicted, left = sum(units[:done]), sum(units[done:])
    pace, share = 1.0, 1.0
    if predicted > 0 and elapsed > 0:
        pace = min(max(elapsed / predicted, LEAST_PACE), MOST_PACE)
        share = left / (predicted + left)
    elif elapsed > 0:
        left = max(left - elapsed, 0.0)  # nothing was reported yet: the first steps are on their way
    return Eta(pace * left, pace * left * error * max(share, 0.2) + REPORT_SECONDS)
