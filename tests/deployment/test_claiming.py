"""An engine claims what the router assigns; without a router it claims the oldest task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from deployment.claiming import Claimer
from deployment.scheduling import Assignment
from deployment.store.sqlite import SqliteStore
from hhray.tasks import Task


def test_with_the_router_away_the_oldest_task_is_claimed(
    task_store: SqliteStore, add_task: Callable[..., Task]
) -> None:
    oldest, younger = add_task(), add_task()

    async def dead(ticket: str) -> Assignment | None:
        raise ConnectionError

    async def hanging(ticket: str) -> Assignment | None:
        await asyncio.sleep(60)
        return None

    for router, expected in ((dead, oldest), (hanging, younger)):
        claims = asyncio.run(Claimer(task_store, "engine", 60.0, router, 0.1).claim("ticket"))
        assert [claim.task.task_id for claim in claims] == [expected.task_id]


def test_an_assignment_is_claimed_as_far_as_it_still_waits(
    task_store: SqliteStore, add_task: Callable[..., Task]
) -> None:
    gone, there = add_task(), add_task()
    task_store.cancel_pending(gone.task_id, None)
    tickets: list[str] = []

    async def router(ticket: str) -> Assignment | None:
        tickets.append(ticket)
        return Assignment((gone.task_id, there.task_id), "bucket", 2)

    claims = asyncio.run(Claimer(task_store, "engine", 60.0, router, 5.0).claim("ticket-7"))
    assert [claim.task.task_id for claim in claims] == [there.task_id]
    assert tickets == ["ticket-7"]


def test_a_router_with_nothing_to_do_is_obeyed(task_store: SqliteStore, add_task: Callable[..., Task]) -> None:
    add_task()

    async def idle(ticket: str) -> Assignment | None:
        return None

    assert asyncio.run(Claimer(task_store, "engine", 60.0, idle, 5.0).claim("t")) == []
    assert task_store.depth().queued == 1
