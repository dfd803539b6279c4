"""Engines come for work and go without it, on a real Ray with fake GPUs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hhray.tasks import TaskState
from scaling_server import ScalingServer
from server_process import wait_for

CLIP = {"resolution": "256P", "ratio": "1:1", "duration": 3}


@pytest.fixture(scope="module")
def scaling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScalingServer]:
    server = ScalingServer(tmp_path_factory.mktemp("scaling"), {"min_engines": 0, "max_engines": 1})
    server.start()
    yield server
    assert server.stop() == 0, server.log_tail()
    assert server.processes() == []


def test_requests_at_no_engine_wait_for_one_which_comes_at_once_and_goes_when_all_is_done(
    scaling: ScalingServer,
) -> None:
    assert scaling.health()["engines"] == 0
    with scaling.client() as client:
        ids = [client.submit("happyhorse-1.0-t2v", f"clip {n}", seed=n, **CLIP) for n in range(2)]
        assert {client.get(task_id).state for task_id in ids} == {"PENDING"}
        assert scaling.health()["engines_desired"] == 1
        for task_id in ids:
            client.wait(task_id, timeout_seconds=200)
    assert scaling.process_titled("ClipEngine"), "an engine stays for its grace"
    wait_for(lambda: not scaling.process_titled("ClipEngine"), 120, "no engine is left")
    store = scaling.store()
    try:
        tasks = [store.get(task_id) for task_id in ids]
        starts = [engine.detail["start_seconds"] for engine in store.engines(3600)]
    finally:
        store.close()
    assert [(task.state, task.attempt, task.faults) for task in tasks if task] == [(TaskState.SUCCEEDED, 1, 0)] * 2
    assert len(starts) == 1
    assert starts[0] > 0
