"""The thinnest scheduler: the oldest task first, on the largest free block. Pure; it has the verbs of the real one.

Batches stay where they are, paused ones go on first, and a gang that is idle is given to one batch.
"""

from __future__ import annotations

from collections.abc import Iterable

from deployment.scheduler.values import GangPlan, GangState, Start
from deployment.scheduling import BatchLimits, QueueIndex
from hhray.blocks import Block, aligned_blocks
from hhray.tasks import QueuedTask


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

    def plan(self, gang: GangState, now: float) -> GangPlan:  # noqa: ARG002 - the real scheduler looks at it
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
