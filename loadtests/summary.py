"""What a load test reports: clips per hour, seconds per clip, errors, and the clips that were not finished."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. Seconds per clip are from the create being sent to the last byte of the file; None without clips.

    Every acknowledged task is in exactly one of `num_clips`, `num_failed` and `num_unfinished`. `errors` counts all
    that went wrong by reason, also what was tried again.
    """

    elapsed_seconds: float
    num_clips: int
    num_failed: int
    num_unfinished: int
    clips_per_hour: float
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    errors: dict[str, int]

    @property
    def is_good(self) -> bool:
        """At least one clip, and nothing went wrong."""
        return self.num_clips > 0 and not self.errors

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for people."""
        return [
            f"clips           {self.num_clips} in {self.elapsed_seconds:.1f} s = {self.clips_per_hour:.1f} clips/h",
            f"seconds a clip  p50 {_shown(self.p50_seconds)}  p95 {_shown(self.p95_seconds)}  "
            f"p99 {_shown(self.p99_seconds)}",
            f"errors          {sum(self.errors.values())}",
            *(f"  {count} x {reason}" for reason, count in sorted(self.errors.items())),
            f"failed clips    {self.num_failed}",
            f"unfinished      {self.num_unfinished} (acknowledged, but not delivered when the test ended)",
        ]


class Recorder:
    """Collects what happens to clips during a run; times in seconds of any one monotonic clock."""

    def __init__(self, began_at: float) -> None:
        self._began_at = began_at
        self._open: set[str] = set()
        self._seconds: list[float] = []
        self._num_failed = 0
        self._errors: Counter[str] = Counter()

    def acknowledged(self, task_id: str) -> None:
        """The server took the task."""
        self._open.add(task_id)

    def delivered(self, task_id: str, seconds: float) -> None:
        """The clip is here, `seconds` after its create was sent."""
        self._open.remove(task_id)
        self._seconds.append(seconds)

    def failed(self, task_id: str, reason: str) -> None:
        """The task ended without a clip."""
        self._open.remove(task_id)
        self._num_failed += 1
        self._errors[reason] += 1

    def error(self, reason: str) -> None:
        """Something went wrong that ended no acknowledged task: a refused create, a poll to be repeated."""
        self._errors[reason] += 1

    def summary(self, now: float) -> Summary:
        """The run so far."""
        elapsed = now - self._began_at
        return Summary(
            elapsed_seconds=elapsed,
            num_clips=len(self._seconds),
            num_failed=self._num_failed,
            num_unfinished=len(self._open),
            clips_per_hour=len(self._seconds) * SECONDS_PER_HOUR / elapsed if elapsed > 0 else 0.0,
            p50_seconds=percentile(self._seconds, 50),
            p95_seconds=percentile(self._seconds, 95),
            p99_seconds=percentile(self._seconds, 99),
            errors=dict(self._errors),
        )


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that at least `percent` % of all are not above (nearest rank); None without values."""
    if not values:
        return None
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"
