"""The router's tickets and index, with a stand-in for the engines' handle and the real store."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from deployment import router as router_module
from deployment.router import Router, check_store_fits
from deployment.scheduler.values import GangPlan, GangState
from deployment.store import open_store
from deployment.store.postgres.schema import migrate_database
from deployment.store.sqlite import SqliteStore
from hhray.blocks import Block
from hhray.errors import ConfigError
from hhray.geometry import Ratio
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import Settings, load_settings
from hhray.tasks import NewTask, Task
from postgres_server import PostgresServer

SERVED = ServedModel(preset("pico"))


class Engines:
    """Collects tickets; each stays open until the test ends it."""

    def __init__(self) -> None:
        self.open: dict[str, asyncio.Future[str]] = {}
        self.run_next = self

    def remote(self, ticket: str) -> asyncio.Future[str]:
        self.open[ticket] = asyncio.get_running_loop().create_future()
        return self.open[ticket]


def idle(*tickets: str) -> GangState:
    return GangState("engine", 2, tickets=tickets)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(router_module.ray, "nodes", lambda: [{"Alive": True}, {"Alive": False}])
    return load_settings(
        overrides={
            "data_dir": str(tmp_path),
            "router": {"poll_seconds": 0.05, "reconcile_seconds": 0.1},
            "engine": {"flops_per_second": 3e11},  # clips take less than the second that tasks say
        }
    )


def test_sqlite_is_refused_on_more_than_one_node() -> None:
    check_store_fits(Settings(), 1)
    with pytest.raises(ConfigError, match="2 nodes"):
        check_store_fits(Settings(), 2)
    check_store_fits(load_settings(overrides={"store": {"url": "postgresql://db/tasks"}}), 2)


def test_at_most_two_tickets_wait_per_engine_and_a_start_frees_a_place(
    settings: Settings, task_store: SqliteStore, add_task: Callable[..., Task]
) -> None:
    tasks = [add_task(ratio) for ratio in (Ratio.R1_1, Ratio.R16_9, Ratio.R4_3, Ratio.R3_4)]

    async def scenario() -> None:
        engines = Engines()
        router = Router.__new__(Router)
        await router.__init__(settings, SERVED, engines)  # type: ignore[misc]  # Serve awaits it, so does the test
        await asyncio.sleep(0.4)
        assert len(engines.open) == 2
        first = next(iter(engines.open))
        plan = await router.plan(first, idle(first))
        assert [start.task_ids for start in plan.starts] == [(tasks[0].task_id,)]
        assert (plan.starts[0].block, plan.waiting) == (Block(0, 2), 3)
        task_store.claim(plan.starts[0].task_ids, "engine", 60.0)
        await asyncio.sleep(0.3)
        assert len(engines.open) == 3, "the accepted ticket no longer waits"
        router._meter.read()
        stats = router.record_autoscaling_stats()
        assert (stats["queued_gpu_seconds"], stats["queued"]) == (3.0, 3.0)
        await router.check_health()
        await _stop(router)

    asyncio.run(scenario())


def test_an_assigned_task_that_nobody_claims_comes_back(
    settings: Settings, task_store: SqliteStore, add_task: Callable[..., Task]
) -> None:
    task = add_task()

    async def scenario() -> None:
        router = Router.__new__(Router)
        await router.__init__(settings, SERVED, Engines())  # type: ignore[misc]
        await asyncio.sleep(0.2)
        for _ in range(2):  # the engine that got it the first time died before its claim
            plan = await router.plan("ticket", idle("ticket"))
            assert [start.task_ids for start in plan.starts] == [(task.task_id,)]
            await asyncio.sleep(0.4)
        task_store.cancel_pending(task.task_id, None)
        await asyncio.sleep(0.3)
        assert await router.plan("ticket", idle("ticket")) == GangPlan()
        await _stop(router)

    asyncio.run(scenario())


def test_a_router_whose_loop_ended_is_not_healthy(settings: Settings) -> None:
    async def scenario() -> None:
        router = Router.__new__(Router)
        await router.__init__(settings, SERVED, Engines())  # type: ignore[misc]
        router._loops[0].cancel()
        await asyncio.sleep(0.05)
        with pytest.raises(RuntimeError, match="loop"):
            await router.check_health()
        await _stop(router)

    asyncio.run(scenario())


async def _stop(router: Router) -> None:
    for task in (*router._loops, *router._tickets):
        task.cancel()
    await asyncio.gather(*router._loops, *router._tickets, return_exceptions=True)
    router._store.close()


def test_a_database_wakes_the_router_when_a_task_comes(
    settings: Settings, postgres_server: PostgresServer, add_task: Callable[..., Task]
) -> None:
    """No hint of an ingress, and the next look of its own is a minute away."""
    url = postgres_server.url()
    migrate_database(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM leases; DELETE FROM tasks")  # of the tests before
    slow = {"poll_seconds": 60.0, "reconcile_seconds": 60.0}
    elsewhere = load_settings(overrides={"data_dir": settings.data_dir, "router": slow, "store": {"url": url}})
    store = open_store(elsewhere)

    async def scenario() -> None:
        engines = Engines()
        router = Router.__new__(Router)
        await router.__init__(elsewhere, SERVED, engines)  # type: ignore[misc]  # Serve awaits it, so does the test
        await asyncio.sleep(0.5)
        assert engines.open == {}
        task = add_task()
        new = NewTask("tenant", task.request, "request", 1.0, True, str(uuid.uuid4()), 3600.0)
        await asyncio.to_thread(store.create, new)
        async with asyncio.timeout(10):
            while not engines.open:
                await asyncio.sleep(0.05)
        await _stop(router)

    asyncio.run(scenario())
    store.close()
