"""Files that cannot be stored: the task goes back to the queue, is not to blame, and ends when the disk is mended."""

from __future__ import annotations

from collections.abc import Callable

from fault_bench import FaultBench, check_invariants, files_nobody_owns, wait_until
from hhray.tasks import TaskState


def test_an_artifact_store_that_fails_costs_attempts_but_no_task_a_fault(
    make_bench: Callable[..., FaultBench],
) -> None:
    bench = make_bench("sqlite")
    bench.values["engine"]["artifact_patience_seconds"] = 0.1
    (task_id,) = bench.submit("one")
    broken = bench.settings.artifact_dir
    broken.write_text("not a directory")
    bench.start("engine")
    wait_until(lambda: bench.task(task_id).attempt >= 2, 30, "a second attempt")
    broken.unlink()
    bench.wait_all(30)
    task = bench.task(task_id)
    assert (task.state, task.faults) == (TaskState.SUCCEEDED, 0)
    check_invariants(bench, [task_id])
    assert files_nobody_owns(bench) == []
