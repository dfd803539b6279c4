"""An engine that is stopped for twice its lease and goes on: whatever it was about to write, it is fenced."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from fault_bench import FaultBench, check_invariants, wait_until
from hhray.tasks import TaskState

POINTS = ["after begin", "between steps", "after decode", "file written", "half an upload", "before publish"]
LEASE_SECONDS = 0.5


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.proof)])
def bench(request: pytest.FixtureRequest, make_bench: Callable[..., FaultBench]) -> FaultBench:
    # Nobody but the zombie itself collects its file.
    return make_bench(request.param, lease_seconds=LEASE_SECONDS, orphan_grace_seconds=3600.0)


def test_a_zombie_writes_nothing_and_takes_its_file_along(bench: FaultBench) -> None:
    ids = bench.submit(*POINTS)
    zombies = {}
    for point, task_id in zip(POINTS, ids, strict=True):
        note = bench.home / f"stopped {point}"
        zombies[point] = bench.start("engine", tasks=[task_id], crash=point, note=str(note), by="SIGSTOP")
        wait_until(note.exists, 30, f"the engine to stop {point}")
    stopped = time.monotonic()
    bench.start("janitor")
    healthy = bench.start("engine")
    bench.wait_all(60)
    bench.server.kill(healthy)
    time.sleep(max(0.0, stopped + 2 * LEASE_SECONDS - time.monotonic()))
    before = {task_id: bench.task(task_id) for task_id in ids}
    assert {(task.state, task.attempt) for task in before.values()} == {(TaskState.SUCCEEDED, 2)}

    for pid in zombies.values():
        os.kill(pid, signal.SIGCONT)
    # They are alive and free again once each of them has made another clip.
    more = bench.submit(*(f"after {number}" for number in range(12)))
    bench.wait_all(60)
    wait_until(lambda: _clips(bench) == {bench.task(task_id).artifact_key for task_id in [*ids, *more]}, 30, "files")
    assert {task_id: bench.task(task_id) for task_id in ids} == before
    wait_until(lambda: list(bench.settings.scratch_dir.glob("*")) == [], 30, "scratch files to go")
    check_invariants(bench, [*ids, *more])


def _clips(bench: FaultBench) -> set[str]:
    root = bench.settings.artifact_dir
    return {str(path.relative_to(root)) for path in (root / "clips").rglob("*") if path.is_file()}
