"""kill -9 of each part in the middle of a clip: the clip arrives, exactly once, in time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import psutil
import pytest

from hhray.tasks import Task, TaskState
from server_process import ServerProcess, is_halfway, wait_for

SHAPE = {"resolution": "256P", "ratio": "1:1", "duration": 6}


@pytest.fixture(scope="module")
def clip_seconds(server: ServerProcess) -> float:
    """What the clip takes when nothing is killed."""
    with server.client() as client:
        view = client.wait(client.submit("happyhorse-1.0-t2v", "a horse", seed=1, **SHAPE))
    return sum(view.stages.values())


def kill_midway(server: ServerProcess, victim: Callable[[], psutil.Process], clip_seconds: float) -> Task:
    """Submit a clip, kill -9 `victim` at 0 < progress < 1, wait for the clip; assert that it came once and in time."""
    with server.client() as client:
        task_id = client.submit("happyhorse-1.0-t2v", "a horse", seed=1, **SHAPE)
        wait_for(lambda: is_halfway(client.get(task_id)), 60, "half done")
        process = victim()
        process.kill()
        process.wait(10)
        killed = time.monotonic()
        client.wait(task_id, timeout_seconds=120)
        took = time.monotonic() - killed
        print(f"{took:.1f} s after the kill; {clip_seconds:.1f} s undisturbed")
        assert took < server.settings.store.lease_seconds + 2 * clip_seconds
    store = server.store()
    try:
        task = store.get(task_id)
    finally:
        store.close()
    assert task is not None
    assert task.state is TaskState.SUCCEEDED
    published = list((server.settings.artifact_dir / "clips" / "t-local" / task_id).iterdir())
    assert [path.name for path in published] == [f"{task.attempt}.mp4"]
    return task


def replica(server: ServerProcess, deployment: str) -> Callable[[], psutil.Process]:
    return lambda: server.process_titled(rf"^ray::ServeReplica:hhray:{deployment}")[0]


def test_a_killed_rank_costs_one_attempt_and_one_fault(server: ServerProcess, clip_seconds: float) -> None:
    coordinator = replica(server, "ClipEngine")().pid
    task = kill_midway(server, lambda: server.rank_processes()[1], clip_seconds)
    assert (task.attempt, task.faults) == (2, 1)
    assert replica(server, "ClipEngine")().pid == coordinator, "the coordinator builds a new gang and lives on"


def test_a_killed_coordinator_costs_one_attempt(server: ServerProcess, clip_seconds: float) -> None:
    old_ranks = server.rank_processes()
    task = kill_midway(server, replica(server, "ClipEngine"), clip_seconds)
    assert task.attempt == 2
    assert not any(rank.is_running() for rank in old_ranks), "its ranks died with it"


def test_a_killed_router_costs_nothing(server: ServerProcess, clip_seconds: float) -> None:
    task = kill_midway(server, replica(server, "Router"), clip_seconds)
    assert task.attempt == 1


def test_a_killed_ingress_costs_nothing(server: ServerProcess, clip_seconds: float) -> None:
    task = kill_midway(server, replica(server, "ApiIngress"), clip_seconds)
    assert task.attempt == 1


def test_a_rank_that_hangs_is_aborted_by_the_watchdog(server: ServerProcess, clip_seconds: float) -> None:
    with server.client() as client:
        task_id = client.submit("happyhorse-1.0-t2v", "a horse", seed=1, **SHAPE)
        wait_for(lambda: is_halfway(client.get(task_id)), 60, "half done")
        hung = server.rank_processes()[0]
        hung.send_signal(signal.SIGSTOP)
        view = client.wait(task_id, timeout_seconds=120)
    assert view.attempt == 2
    assert not hung.is_running()
    assert "did not end within" in server.engine_log()


def test_new_work_is_taken_after_router_and_ingress_came_back(server: ServerProcess) -> None:
    for deployment in ("Router", "ApiIngress"):
        process = replica(server, deployment)()
        process.kill()
        process.wait(10)
    with server.client() as client:
        task_id = client.submit("happyhorse-1.0-t2v", "again", resolution="256P", duration=3, seed=4)
        assert client.wait(task_id, timeout_seconds=60).attempt == 1
