"""Leases are kept by a timer; what the store says about them comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from deployment.lease_keeper import LeaseKeeper
from deployment.store.sqlite import SqliteStore
from hhray.tasks import EngineRecord, Progress, Task

LEASE_SECONDS = 1.0
SHORT_SECONDS = 0.5  # of a claim, until the keeper renews it


@pytest.fixture
def keeper(task_store: SqliteStore) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(task_store, "engine", LEASE_SECONDS, 0.1, lambda: EngineRecord("engine", 2, "pico", "busy"))
    yield keeper
    keeper.close()


def test_a_lease_lives_through_a_long_phase_without_a_step(
    task_store: SqliteStore, add_task: Callable[..., Task], keeper: LeaseKeeper
) -> None:
    task = add_task()
    (claim,) = task_store.claim([task.task_id], "engine", LEASE_SECONDS)
    held = keeper.hold(claim)
    time.sleep(2.5 * LEASE_SECONDS)  # nothing steps, nobody reports
    assert task_store.reap(3) == []
    assert not held.lost
    keeper.drop(held)
    time.sleep(1.5 * LEASE_SECONDS)
    assert [task_id for task_id, _ in task_store.reap(3)] == [task.task_id]


def test_an_earlier_attempt_of_a_task_that_is_dropped_leaves_the_later_ones_lease(
    task_store: SqliteStore, add_task: Callable[..., Task], keeper: LeaseKeeper
) -> None:
    task = add_task()
    first = keeper.hold(task_store.claim([task.task_id], "engine", SHORT_SECONDS)[0])
    task_store.release(task.task_id, "engine", 1)
    second = keeper.hold(task_store.claim([task.task_id], "engine", SHORT_SECONDS)[0])
    assert first.lost
    keeper.drop(first)
    time.sleep(1.5 * SHORT_SECONDS)
    assert task_store.reap(3) == []
    assert not second.lost


def test_a_beat_that_fails_is_followed_by_the_next(
    task_store: SqliteStore, add_task: Callable[..., Task], caplog: pytest.LogCaptureFixture
) -> None:
    broken = iter([True])

    def describe() -> EngineRecord:
        if next(broken, False):
            raise ValueError("a fact that cannot be told")
        return EngineRecord("engine", 2, "pico", "busy")

    keeper = LeaseKeeper(task_store, "engine", LEASE_SECONDS, 0.05, describe)
    keeper.hold(task_store.claim([add_task().task_id], "engine", SHORT_SECONDS)[0])
    time.sleep(1.5 * SHORT_SECONDS)
    keeper.close()
    assert "a fact that cannot be told" in caplog.text
    assert task_store.reap(3) == []
    assert [engine.state for engine in task_store.engines(5.0)] == ["busy"]


def test_progress_cancel_loss_and_drain_travel_with_the_timer(
    task_store: SqliteStore, add_task: Callable[..., Task], keeper: LeaseKeeper
) -> None:
    first, second = add_task(), add_task()
    held = [keeper.hold(claim) for claim in task_store.claim([first.task_id, second.task_id], "engine", 30.0)]
    held[0].progress = Progress(0.5, "denoise")
    task_store.request_cancel(first.task_id, None)
    task_store.release(second.task_id, "engine", 1)
    task_store.set_drain(0.0)
    time.sleep(0.4)
    seen = task_store.get(first.task_id)
    assert seen is not None
    assert (seen.progress, seen.stage) == (0.5, "denoise")
    assert (held[0].cancel_requested, held[0].lost) == (True, False)
    assert held[1].lost
    assert keeper.draining
    assert keeper.must_yield
    assert [engine.state for engine in task_store.engines(5.0)] == ["busy"]
