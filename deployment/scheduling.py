"""The router's policy, pure: an index of the queue and the choice of the next batch. No Ray, no clock, no database.

Thin on purpose: buckets by exact shape, the oldest task first, short clips of the same bucket packed behind it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hhray.cost import stream_tokens
from hhray.request import ShapeKey
from hhray.served_model import ServedModel
from hhray.tasks import QueuedTask


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How far packing may go: clips in a batch, and tokens of the base pass over all its clips (a longer clip runs
    alone)."""

    served: ServedModel
    max_clips: int
    max_tokens: int

    def clips(self, bucket: str) -> int:
        """Most clips of that bucket in one batch, at least one."""
        geometry = ShapeKey.parse(bucket).geometry
        tokens = stream_tokens(self.served.base_grid(geometry), geometry.audio_latents)
        return max(1, min(self.max_clips, self.max_tokens // tokens))


@dataclass(frozen=True, slots=True)
class Assignment:
    """Tasks of one bucket for one engine, and on how many of its ranks they run."""

    task_ids: tuple[str, ...]
    bucket: str
    ranks: int


class QueueIndex:
    """Claimable tasks, by bucket and age. It may lag behind the store: a claim is decided there, by compare-and-set."""

    def __init__(self) -> None:
        self._live: dict[str, QueuedTask] = {}
        self._heaps: dict[str, list[tuple[float, int, str]]] = {}
        self._waiting: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._live)

    @property
    def gpu_seconds(self) -> float:
        """Estimated work of all waiting tasks."""
        return sum(task.gpu_seconds for task in self._live.values())

    def add(self, tasks: Iterable[QueuedTask]) -> None:
        """Add tasks; one that is known already is left where it is."""
        for task in tasks:
            if task.task_id not in self._live:
                heap = self._heaps.setdefault(task.bucket, [])
                heapq.heappush(heap, (task.submitted_at, task.sequence, task.task_id))
                self._waiting[task.bucket] += 1
            self._live[task.task_id] = task

    def discard(self, task_id: str) -> None:
        """Forget a task, if it is known."""
        task = self._live.pop(task_id, None)
        if task is not None:
            self._waiting[task.bucket] -= 1

    def replace(self, tasks: Iterable[QueuedTask]) -> None:
        """Become exactly these tasks: a reconciliation with the store."""
        self._live.clear()
        self._heaps.clear()
        self._waiting.clear()
        self.add(tasks)

    def take(self, limits: BatchLimits, ranks: int, num_engines: int) -> Assignment | None:
        """Remove and return the next batch for an engine with `ranks` free ranks; None when nothing waits.

        The bucket of the oldest task; of its tasks the oldest, up to the packing limit, but no more than an even share
        among the engines, so that packing never leaves another engine idle.
        """
        heads = [(heap[0], bucket) for bucket in list(self._heaps) if (heap := self._trimmed(bucket))]
        if not heads:
            return None
        _, bucket = min(heads)
        share = -(-self._waiting[bucket] // max(1, num_engines))
        chosen: list[str] = []
        while len(chosen) < min(limits.clips(bucket), share) and self._trimmed(bucket):
            task_id = heapq.heappop(self._heaps[bucket])[2]
            self.discard(task_id)
            chosen.append(task_id)
        return Assignment(tuple(chosen), bucket, ranks)

    def _trimmed(self, bucket: str) -> list[tuple[float, int, str]]:
        """The bucket's heap without forgotten tasks at its head; the bucket itself goes when it is empty."""
        heap = self._heaps.get(bucket, [])
        while heap and heap[0][2] not in self._live:
            heapq.heappop(heap)
        if not heap:
            self._heaps.pop(bucket, None)
            self._waiting.pop(bucket, None)
        return heap
