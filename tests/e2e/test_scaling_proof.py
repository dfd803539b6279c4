"""Scaling and a rolling update with clips in flight, on a real Ray with fake GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hhray.client import Client
from hhray.tasks import Task, TaskState
from scaling_server import ScalingServer
from server_process import wait_for

pytestmark = pytest.mark.proof
SHORT = {"resolution": "256P", "ratio": "1:1", "duration": 3}
LONG = {"resolution": "256P", "ratio": "1:1", "duration": 15}
REPLICAS = "ServeReplica.*(ClipEngine|Router|ApiIngress)"
KeepProof = Callable[[str, dict[str, Any]], None]


@pytest.fixture(scope="module")
def scaling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScalingServer]:
    autoscaling = {"min_engines": 0, "max_engines": 3, "drain_target_seconds": 20.0, "arrival_window_seconds": 10_000}
    patient = {"watchdog_floor_seconds": 600.0}
    server = ScalingServer(tmp_path_factory.mktemp("scaling"), autoscaling, **patient)
    server.start()
    yield server
    assert server.stop() == 0, server.log_tail()
    assert server.processes() == []


def submit(client: Client, count: int, shape: dict[str, Any]) -> list[str]:
    return [client.submit("happyhorse-1.0-t2v", f"clip {n}", seed=n, **shape) for n in range(count)]


def ended(server: ScalingServer, ids: list[str]) -> list[Task]:
    store = server.store()
    try:
        return [task for task_id in ids if (task := store.get(task_id)) and task.state.is_terminal]
    finally:
        store.close()


def assert_none_was_lost_or_restarted(tasks: list[Task], count: int) -> None:
    assert [(task.state, task.attempt, task.faults) for task in tasks] == [(TaskState.SUCCEEDED, 1, 0)] * count


def engines(server: ScalingServer) -> int:
    return len(server.process_titled("ServeReplica.*ClipEngine"))


def test_from_none_to_three_to_none_with_clips_in_flight(scaling: ScalingServer, keep_proof: KeepProof) -> None:
    began = time.monotonic()
    trace: list[tuple[float, int, int]] = []

    def look() -> int:
        time.sleep(0.5)  # a look at all processes is work, too
        now = (engines(scaling), scaling.health()["running"])
        if not trace or trace[-1][1:] != now:
            trace.append((round(time.monotonic() - began, 1), *now))
        return now[0]

    with scaling.client() as client:
        ids = submit(client, 3, SHORT) + submit(client, 3, LONG)
        assert {client.get(task_id).state for task_id in ids} == {"PENDING"}, "queued, not refused"
    wait_for(lambda: look() == 3, 120, "three engines")
    wait_for(lambda: look() < 4 and len(ended(scaling, ids)) == len(ids), 900, "all ended")
    wait_for(lambda: look() == 0, 300, "no engine is left")
    tasks = ended(scaling, ids)
    assert_none_was_lost_or_restarted(tasks, len(ids))
    log = scaling.engine_log()
    assert "1 ongoing requests" in log, "no engine that was to stop had a clip to finish: the test shows nothing"
    store = scaling.store()
    starts = [round(engine.detail["start_seconds"], 1) for engine in store.engines(3600)]
    store.close()
    waits = [task.started_at - task.submitted_at for task in tasks if task.started_at]
    keep_proof(
        "scaling_0_3_0",
        {
            "command": "pytest -m proof tests/e2e/test_scaling_proof.py",
            "seconds_engines_running": trace,
            "start_seconds_of_engines": starts,
            "first_clip_began_after_seconds": round(min(waits), 1),
            "clips": len(tasks),
            "attempts": [task.attempt for task in tasks],
        },
    )


def test_a_rolling_update_under_load_loses_and_restarts_nothing(scaling: ScalingServer, keep_proof: KeepProof) -> None:
    with scaling.client() as client:
        ids = submit(client, 4, {**SHORT, "duration": 8})
        wait_for(lambda: scaling.health()["running"] >= 2, 120, "two clips run")
        before = set(scaling.process_titled(REPLICAS))
        began = time.monotonic()
        scaling.change(media={"max_redirects": 2})
        scaling.begin_update()
        while before & set(scaling.process_titled(REPLICAS)):
            if len(ids) - len(ended(scaling, ids)) < 4:  # a queue that never ends, and never grows
                ids += submit(client, 1, SHORT)
            assert time.monotonic() - began < 900, "old replicas are still there"
            time.sleep(1.0)
        scaling.end_update()
        seconds = time.monotonic() - began
    wait_for(lambda: len(ended(scaling, ids)) == len(ids), 900, "all ended")
    assert_none_was_lost_or_restarted(ended(scaling, ids), len(ids))
    keep_proof("rolling_update", {"seconds": round(seconds, 1), "clips": len(ids), "replaced": len(before)})
