"""An engine pauses when clips cannot be stored, and lets others work when its GPUs are suspect."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployment.fitness import EngineFitness
from deployment.storage import StoragePause, check_room
from deployment.store.sqlite import SqliteStore
from hhray.errors import DiskFull, GangDied
from hhray.settings import Settings
from hhray.tasks import EngineRecord


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fitness(tmp_path: Path, clock: Clock, **store: int) -> EngineFitness:
    settings = Settings(data_dir=str(tmp_path), store=store, engine={"storage_pause_seconds": 5.0})
    return EngineFitness(settings, "me", clock)


def test_the_pause_doubles_up_to_five_minutes_and_a_stored_clip_ends_the_row() -> None:
    pause = StoragePause(5.0)
    assert pause.over(0.0)
    assert [pause.failed(0.0) for _ in range(8)] == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert not pause.over(299.9)
    assert pause.over(300.0)
    pause.stored()
    assert pause.failed(400.0) == 5.0


def test_an_engine_whose_clip_found_no_place_takes_no_work_for_a_while(
    tmp_path: Path, task_store: SqliteStore, clock: Clock
) -> None:
    engine = fitness(tmp_path, clock, min_free_bytes=0)
    assert engine.may_work(task_store)
    engine.not_stored(DiskFull("no room"))
    assert not engine.may_work(task_store)
    clock.now += 5.0
    assert engine.may_work(task_store)


def test_no_clip_is_begun_where_there_is_no_room_for_it(
    tmp_path: Path, task_store: SqliteStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = fitness(tmp_path, clock, min_free_bytes=10**18)
    assert not engine.may_work(task_store)
    assert "store.min_free_bytes" in caplog.text
    with pytest.raises(DiskFull, match="MB left"):
        check_room([tmp_path / "a folder that is not made yet"], 10**18)


def test_the_gpu_that_fails_is_named_whichever_rank_it_serves(tmp_path: Path, clock: Clock) -> None:
    engine = fitness(tmp_path, clock, min_free_bytes=0)
    for gpus in (["GPU-a", "GPU-b"], ["GPU-b", "GPU-a"]):  # the next gang got them the other way round
        engine.gpus = gpus
        engine.gang_failed(GangDied("a rank died").at([gpus.index("GPU-b")]))
    (suspect,) = engine.report()["suspects"]
    assert (suspect["kind"], suspect["name"], suspect["strikes"]) == ("gpu", "GPU-b", 2)


def test_a_rank_that_fails_again_is_reported_and_its_engine_leaves_work_to_others(
    tmp_path: Path, task_store: SqliteStore, clock: Clock
) -> None:
    engine = fitness(tmp_path, clock, min_free_bytes=0)
    for _ in range(2):
        assert engine.state("busy") == "busy"
        engine.gang_failed(GangDied("rank 1 died").at([1]))
    assert engine.state("busy") == "quarantined"
    assert engine.state("starting") == "starting"
    (suspect,) = engine.report()["suspects"]
    assert (suspect["kind"], suspect["name"], suspect["strikes"]) == ("rank", "1", 2)
    assert engine.may_work(task_store), "nobody else is there"
    task_store.heartbeat(EngineRecord("it", 2, "pico", "ready"))
    assert not engine.may_work(task_store)
    clock.now += 3600.0
    assert engine.may_work(task_store), "the window is over"
