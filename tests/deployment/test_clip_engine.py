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
from engine.messages import ClipJob, LoadReport, MuxReport, StepReport
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
        self.cold_shapes = 0
        self.report = LoadReport(0.0, 0, 0)
        self.gpus = ["GPU-a", "GPU-b"]
        self.before_mux: Callable[[int], Awaitable[None]] | None = None
        self.before_report: Callable[[int], Awaitable[None]] | None = None
        self.stepping = [asyncio.Event() for _ in range(3)]
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
            if self.fault is not None:
                raise self.fault
            number = self._note("steps", batch_id)
            self.stepping[number].set()
            if self.before_report is not None:
                await self.before_report(number)
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

    async def pause(self, batch_id: str, path: Path, limit: float) -> bool:
        self._note("pause", batch_id)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"latents")
        return True

    async def resume(
        self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block, path: Path, next_step: int, limit: float
    ) -> None:
        assert path.read_bytes() == b"latents"
        self.calls.append(f"resume on {block} after {next_step}")

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

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, tasks: list[Task], **engine: Any) -> None:
        self.gangs: list[FakeGang] = []
        settings = load_settings(
            overrides={
                "data_dir": str(home),
                "engine": {"preset": "pico", **engine},
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
    bench = Bench(tmp_path, monkeypatch, tasks, artifact_patience_seconds=0.1)
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


class Deaths:
    """The first clip is paused for two others on the halves of 4 ranks; when both are on their way, rank 3 fails."""

    def __init__(self, bench: Bench, names: list[str]) -> None:
        self.bench, self.names = bench, names
        self.is_dead = False

    async def __call__(self, _ticket: str | None, state: GangState) -> GangPlan:
        batches = {one.task_ids[0]: one for one in state.batches}
        blocks = {one.batch_id: one.block for one in state.batches if not one.busy}
        paused, left, right = self.names
        if self.is_dead:
            waits = any(one.block for one in state.batches)
            if not batches or waits:
                return GangPlan((), blocks)
            return GangPlan((), dict.fromkeys(blocks, Block(0, 4)))
        if not batches and len(state.tickets or ()) == 4:
            return GangPlan((Start((paused,), "b", Block(0, 4)),), waiting=9)
        first = batches.get(paused)
        if first and first.block and not first.busy and first.units_done >= 2:
            starts = (Start((left,), "b", Block(0, 2)), Start((right,), "b", Block(2, 2)))
            return GangPlan(starts, {first.batch_id: None}, {first.batch_id: "paused"}, waiting=9)
        if {left, right} <= batches.keys() and all(batches[name].units_done for name in (left, right)):
            self.is_dead = True
            self.bench.gangs[0].fault = GangDied("steps failed on rank 3").at([3])
        return GangPlan((), blocks, waiting=9)


def test_only_the_block_with_the_failed_rank_is_blamed_and_a_paused_clip_goes_on_with_the_next_gang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, add_task: Callable[..., Task], task_store: SqliteStore
) -> None:
    names = [add_task().task_id for _ in range(3)]
    bench = Bench(tmp_path, monkeypatch, [], ranks=4, command_seconds=0.001)
    planner = Deaths(bench, names)
    monkeypatch.setattr(ClipEngine, "_ask_router", planner)  # no function: called without the engine

    async def scenario() -> dict[str, int]:
        engine = await bench.engine()
        gang = bench.gangs[0]

        async def wait_for_each_other(number: int) -> None:
            if number:
                await asyncio.gather(*(event.wait() for event in gang.stepping[1:]))

        gang.before_report = wait_for_each_other
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(engine.run_next(str(number)) for number in range(4)))
        detail = engine._describe().detail["preemptions"]
        await engine.stop()
        return dict(detail)

    assert asyncio.run(scenario()) == {"paused": 1}
    paused, left, right = (task_store.get(name) for name in names)
    assert paused is not None
    assert left is not None
    assert right is not None
    assert (paused.state, paused.attempt, paused.faults) == (TaskState.SUCCEEDED, 1, 0)
    assert (left.state, left.faults) == (TaskState.PENDING, 0), "requeued without blame"
    assert (right.state, right.faults) == (TaskState.PENDING, 1)
    assert [call for call in bench.gangs[1].calls if call.startswith("resume")] == ["resume on 0-3 after 2"]
    assert list((tmp_path / "scratch").iterdir()) == [], "the file of the pause is gone"


@pytest.mark.parametrize("hangs", [False, True])
def test_with_the_router_away_the_oldest_task_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: list[Task], task_store: SqliteStore, hangs: bool
) -> None:
    bench = Bench(tmp_path, monkeypatch, [])
    bench.settings = bench.settings.model_copy(
        update={"router": bench.settings.router.model_copy(update={"assign_timeout_seconds": 0.1})}
    )

    async def away(_engine: ClipEngine, _ticket: str | None, _state: GangState) -> GangPlan:
        if hangs:
            await asyncio.sleep(PATIENCE)
        raise ConnectionError

    monkeypatch.setattr(ClipEngine, "_ask_router", away)

    async def scenario() -> tuple[str, str]:
        engine = await bench.engine()
        async with asyncio.timeout(PATIENCE):
            outcomes = await engine.run_next("one"), await engine.run_next("two")
            assert await engine.run_next("three") == "empty"
        await engine.stop()
        return outcomes

    assert asyncio.run(scenario()) == ("done", "done")
    ended = [task_store.get(task.task_id) for task in tasks]
    assert [task.state for task in ended if task] == [TaskState.SUCCEEDED] * 2
    oldest, younger = (task.ended_at for task in ended if task)
    assert oldest is not None
    assert younger is not None
    assert oldest < younger


@pytest.mark.parametrize(("ranks", "replicas", "tickets"), [(1, 1, 4), (2, 1, 6), (8, 1, 18), (1, 3, 4), (4, 2, 10)])
def test_an_engine_takes_two_tickets_for_each_rank_and_two_more(ranks: int, replicas: int, tickets: int) -> None:
    settings = load_settings(overrides={"engine": {"preset": "pico", "ranks": ranks, "replicas": replicas}})
    assert engine_options(settings)["max_ongoing_requests"] == tickets
