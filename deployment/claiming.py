"""How an engine comes by work: the tasks of a start the router planned, or without a router the oldest of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from deployment.scheduler.values import RunningBatch, Start
from deployment.store.base import Claim, TaskStore


class Claimer:
    """Claims batches for one engine, late: only when it has free ranks."""

    def __init__(self, store: TaskStore, engine_id: str, lease_seconds: float, num_ranks: int) -> None:
        self._store = store
        self._engine_id = engine_id
        self._lease_seconds = lease_seconds
        self._num_ranks = num_ranks

    async def claim(self, start: Start) -> list[Claim]:
        """The claims won by compare-and-set; empty when there was nothing, or others were faster.

        A start that names no tasks is for the oldest one there is. A deterministic one that would not get all ranks of
        the gang goes back: it runs on as many each time.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        if start.task_ids:
            return await asyncio.to_thread(self._store.claim, start.task_ids, self._engine_id, self._lease_seconds)
        claims = await asyncio.to_thread(self._store.claim_oldest, self._engine_id, self._lease_seconds, 1)
        for claim in claims:
            if claim.task.request.deterministic and start.block.num_ranks < self._num_ranks:
                await asyncio.to_thread(self._store.release, claim.task.task_id, claim.owner, claim.fence)
                return []
        return claims


def batch_of(claims: Sequence[Claim], start: Start) -> RunningBatch:
    """The batch of tasks that were claimed for a start: as old as the oldest of them, as urgent as the most urgent."""
    tasks = [claim.task for claim in claims]
    return RunningBatch(
        batch_id=f"{tasks[0].task_id}.{claims[0].fence}",
        task_ids=tuple(task.task_id for task in tasks),
        bucket=str(tasks[0].request.shape_key),
        units_done=0,
        block=start.block,
        busy=True,
        pinned=any(task.request.deterministic for task in tasks),
        tenant=tasks[0].tenant,
        submitted_at=min(task.submitted_at for task in tasks),
        deadline=min((task.deadline for task in tasks if task.deadline), default=0.0),
        reserved=all(task.reserved for task in tasks),
        tenants=tuple(task.tenant for task in tasks),
    )
