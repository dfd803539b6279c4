"""An engine claims what a plan starts, as far as it still waits; a start without names is for the oldest task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from deployment.claiming import Claimer, batch_of
from deployment.scheduler.values import Start
from deployment.store.sqlite import SqliteStore
from hhray.blocks import Block
from hhray.tasks import Task

BLOCK = Block(2, 2)


def test_a_start_without_names_claims_the_oldest_task(task_store: SqliteStore, add_task: Callable[..., Task]) -> None:
    claimer = Claimer(task_store, "engine", 60.0, 2)
    for expected in [add_task(), add_task()]:
        claims = asyncio.run(claimer.claim(Start((), "", BLOCK)))
        assert [claim.task.task_id for claim in claims] == [expected.task_id]
    assert asyncio.run(claimer.claim(Start((), "", BLOCK))) == []


def test_a_start_is_claimed_as_far_as_it_still_waits(task_store: SqliteStore, add_task: Callable[..., Task]) -> None:
    gone, there = add_task(), add_task()
    task_store.cancel_pending(gone.task_id, None)
    start = Start((gone.task_id, there.task_id), "bucket", BLOCK)
    claims = asyncio.run(Claimer(task_store, "engine", 60.0, 2).claim(start))
    assert [claim.task.task_id for claim in claims] == [there.task_id]
    batch = batch_of(claims, start)
    assert (batch.batch_id, batch.block, batch.busy) == (f"{there.task_id}.1", BLOCK, True)
    assert (batch.deadline, batch.reserved, batch.pinned) == (0.0, False, False)
    assert (batch.bucket, batch.submitted_at) == (str(there.request.shape_key), there.submitted_at)
