"""An engine takes the next ticket while the last clip's file is written; ranks and router are stood in for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from deployment.app import engine_options
from deployment.clip_engine import ClipEngine
from deployment.gang import Gang
from deployment.scheduler.values import GangPlan, GangState, Start
from deployment.store.sqlite import SqliteStore
from engine.messages import ClipJob, MuxReport, StepReport
from hhray.blocks import Block
from hhray.errors import GangDied
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import load_settings
from hhray.tasks import Task, TaskState

PATIENCE = 60  # seconds, on a busy machine


class FakeGang:
    """Notes calls as "<what> <number of the batch>"; `before_mux` is awaited before a file is there."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.calls = scratch, list[str]()
        self.fault: Exception | None = None
        self.pids: list[int] = []
        self.before_mux: Callable[[int], Awaitable[None]] | None = None
        self.stepping = [asyncio.Event() for _ in range(2)]
        self._batches: list[str] = []

    def _note(self, what: str, batch_id: str) -> int:
        if batch_id not in self._batches:
            self._batches.append(batch_id)
        number = self._batches.index(batch_id)
        self.calls.append(f"{what} {number}")
        return number

    async def begin(self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block, limit: float) -> None:
        self._note("begin", batch_id)

    def steps(self, batch_id: str, first: int, count: int, limit: float) -> asyncio.Future[StepReport]:
        async def step() -> StepReport:
            self.stepping[self._note("steps", batch_id)].set()
            return StepReport(first, count, 0.01, 0, 0)

        return asyncio.ensure_future(step())

    async def decode(self, batch_id: str, index: int, limit: float) -> None:
        self._note("decode", batch_id)

    async def mux(self, batch_id: str, index: int, name: str, limit: float) -> MuxReport:
        number = self._note("mux", batch_id)
        if self.before_mux is not None:
            await self.before_mux(number)
        self._note("file", batch_id)
        path = self.scratch / name
        path.write_bytes(b"clip")
        return MuxReport(str(path), 4, 75, 144000, 320, 320, "", "libx264")

    async def end(self, batch_id: str, limit: float) -> None:
        self._note("end", batch_id)

    def close(self) -> None:
        self.calls.append("close")


class Engine(ClipEngine):
    """Stopped by the test as Serve does it; the collector, which awaits nothing, finds nothing to do."""

    def __del__(self) -> None:  # type: ignore[override]
        pass

    async def stop(self) -> None:
        await ClipEngine.__del__(self)


class Bench:
    """An engine whose router hands out one task a ticket, oldest first, and whose gangs are fakes."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, tasks: list[Task]) -> None:
        self.gangs: list[FakeGang] = []
        settings = load_settings(
            overrides={
                "data_dir": str(home),
                "engine": {"preset": "pico"},
                "store": {"sqlite_path": str(home / "tasks.sqlite3")},
            }
        )
        waiting = [task.task_id for task in tasks]

        async def start(_settings: Any, _served: Any) -> FakeGang:
            self.gangs.append(FakeGang(home))
            return self.gangs[-1]

        async def plan(_engine: ClipEngine, _ticket: str | None, state: GangState) -> GangPlan:
            is_free = waiting and state.tickets and not state.batches
            starts = (Start((waiting.pop(0),), "bucket", Block(0, 2)),) if is_free else ()
            return GangPlan(starts, waiting=len(waiting))

        monkeypatch.setattr(Gang, "start", start)
        monkeypatch.setattr(ClipEngine, "_ask_router", plan)
        self.settings = settings

    async def engine(self) -> Engine:
        made = Engine.__new__(Engine)
        await made.__init__(self.settings, ServedModel(preset("pico")))  # type: ignore[misc]
        return made


@pytest.fixture
def tasks(add_task: Callable[..., Task]) -> list[Task]:
    return [add_task() for _ in range(2)]


def test_the_next_clip_is_denoised_while_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: list[Task], task_store: SqliteStore
) -> None:
    bench = Bench(tmp_path, monkeypatch, tasks)

    async def scenario() -> list[str]:
        engine = await bench.engine()
        gang = bench.gangs[0]

        async def next_one_steps(number: int) -> None:
            if number == 0:
                async with asyncio.timeout(PATIENCE):
                    await gang.stepping[1].wait()

        gang.before_mux = next_one_steps
        outcomes = await asyncio.gather(engine.run_next("one"), engine.run_next("two"))
        await engine.stop()
        return outcomes

    assert asyncio.run(scenario()) == ["done", "done"]
    calls = bench.gangs[0].calls
    assert calls.index("decode 0") < calls.index("begin 1"), "one batch at a time has the ranks"
    assert calls.index("steps 1") < calls.index("file 0")
    assert [calls.count(f"end {number}") for number in range(2)] == [1, 1]
    for task in tasks:
        found = task_store.get(task.task_id)
        assert found is not None
        assert found.state is TaskState.SUCCEEDED


def test_a_file_that_is_lost_costs_its_clip_an_attempt_and_the_gang_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: list[Task], task_store: SqliteStore
) -> None:
    bench = Bench(tmp_path, monkeypatch, tasks[:1])

    async def scenario() -> str:
        engine = await bench.engine()
        gang = bench.gangs[0]

        async def die(_number: int) -> None:
            gang.fault = GangDied("mux failed on a rank: no space left on device")
            raise gang.fault

        gang.before_mux = die
        outcome = await engine.run_next("one")
        await engine.stop()
        return outcome

    assert asyncio.run(scenario()) == "done"
    assert len(bench.gangs) == 2, "a new gang is there for the next ticket"
    found = task_store.get(tasks[0].task_id)
    assert found is not None
    assert (found.state, found.faults) == (TaskState.PENDING, 1)


def test_an_engine_whose_clip_found_no_place_requeues_it_without_blame_and_takes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: list[Task], task_store: SqliteStore
) -> None:
    bench = Bench(tmp_path, monkeypatch, tasks)
    engine_settings = bench.settings.engine.model_copy(update={"artifact_patience_seconds": 0.1})
    bench.settings = bench.settings.model_copy(update={"engine": engine_settings})
    (tmp_path / "artifacts").write_text("no directory")

    async def scenario() -> list[str]:
        engine = await bench.engine()
        outcomes = [await engine.run_next("one"), await engine.run_next("two")]
        await engine.stop()
        return outcomes

    assert asyncio.run(scenario()) == ["done", "refused"]
    assert len(bench.gangs) == 1, "the gang is not to blame either"
    first, second = (task_store.get(task.task_id) for task in tasks)
    assert first is not None
    assert second is not None
    assert (first.state, first.attempt, first.faults) == (TaskState.PENDING, 1, 0)
    assert (second.state, second.attempt) == (TaskState.PENDING, 0)


@pytest.mark.parametrize(("ranks", "replicas", "tickets"), [(1, 1, 3), (2, 1, 4), (8, 1, 10), (1, 3, 3), (4, 2, 6)])
def test_an_engine_takes_a_ticket_for_each_rank_and_two_that_wait(ranks: int, replicas: int, tickets: int) -> None:
    settings = load_settings(overrides={"engine": {"preset": "pico", "ranks": ranks, "replicas": replicas}})
    assert engine_options(settings)["max_ongoing_requests"] == tickets
