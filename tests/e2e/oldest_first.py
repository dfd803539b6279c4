"""A planner for tests of gangs that is easy to foresee: the oldest task first, on the largest free block.

Batches stay where they are, paused ones go on first, and a gang that is idle is given to one batch.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from deployment.scheduler.limits import BatchLimits
from deployment.scheduler.values import GangPlan, GangState, Start
from hhray.blocks import Block, aligned_blocks
from hhray.tasks import QueuedTask


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


class OldestFirst:
    """Plans for gangs from one queue. `num_engines` share it: a batch takes no more than an even share of a bucket."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits, self._index = limits, QueueIndex()
        self.num_engines = 1

    def __len__(self) -> int:
        return len(self._index)

    @property
    def queued_gpu_seconds(self) -> float:
        """Estimated work of all waiting tasks."""
        return self._index.gpu_seconds

    def add(self, tasks: Iterable[QueuedTask]) -> None:
        """Tasks that became claimable."""
        self._index.add(tasks)

    def discard(self, task_id: str) -> None:
        """A task that waits no more."""
        self._index.discard(task_id)

    def replace(self, tasks: Iterable[QueuedTask]) -> None:
        """Exactly these tasks wait."""
        self._index.replace(tasks)

    def forget(self, engine_id: str) -> None:
        """An engine is gone; nothing is remembered of engines."""

    def plan(self, gang: GangState, now: float) -> GangPlan:
        """What a gang does now; the tasks it starts leave the queue. `now` is not looked at: age alone decides."""
        free = set(range(gang.num_ranks)).difference(*(one.block.ranks for one in gang.batches if one.block))
        blocks: dict[str, Block | None] = {
            one.batch_id: one.block for one in gang.batches if one.block is not None and not one.busy
        }
        because: dict[str, str] = {}
        for paused in (one for one in gang.batches if one.block is None):
            block = blocks[paused.batch_id] = _largest(gang.num_ranks, free)
            if block is not None:
                because[paused.batch_id] = "resumed"
                free -= set(block.ranks)
        starts: list[Start] = []
        most = gang.num_ranks if gang.tickets is None else len(gang.tickets)
        while len(starts) < most and (block := _largest(gang.num_ranks, free)) is not None:
            batch = self._index.take(self._limits, block.num_ranks, self.num_engines)
            if batch is None:
                break
            starts.append(Start(batch.task_ids, batch.bucket, block))
            free -= set(block.ranks)
        return GangPlan(tuple(starts), blocks, because)


def _largest(num_ranks: int, free: set[int]) -> Block | None:
    return next((block for block in aligned_blocks(num_ranks) if free.issuperset(block.ranks)), None)
