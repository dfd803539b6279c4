"""A data directory, processes on it that may be killed, and the checker of the invariants."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployment.artifacts import DirectoryArtifacts
from deployment.janitor import Janitor, sweep_scratch
from deployment.store.base import TaskFilter
from fault_roles import SECRET
from fault_stores import open_fault_store
from fork_server import ForkServer
from hhray import metrics
from hhray.settings import Settings, load_settings
from hhray.tasks import Task, TaskState

LEASE_SECONDS = 0.5


class FaultBench:
    """Roles on one data directory. `acks` holds what the client was told: a key and a task id a line."""

    def __init__(self, home: Path, server: ForkServer, *, lease_seconds: float = LEASE_SECONDS, **store: Any) -> None:
        self.home, self.server = home, server
        self.values: dict[str, Any] = {
            "data_dir": str(home),
            "engine": {"preset": "pico", "ranks": 1},
            "store": {"lease_seconds": lease_seconds, "max_faults": 100_000, "orphan_grace_seconds": 1.0, **store},
            "media": {"task_timeout_seconds": 0.1, "probe_seconds": 0.1},
            "router": {"heartbeat_seconds": 0.1},
        }
        self.settings: Settings = load_settings(overrides=self.values)
        self.store = open_fault_store(self.settings)
        self.artifacts = DirectoryArtifacts(self.settings.artifact_dir, SECRET)
        self.acks = home / "acks"
        self._engines = 0

    def start(self, role: str, **order: Any) -> int:
        """Start a role; an engine gets a name of its own."""
        if role == "engine":
            self._engines += 1
            order.setdefault("name", f"engine-{self._engines}")
        return self.server.start(role, settings=self.values, **order)

    def submit(self, *keys: str, **order: Any) -> list[str]:
        """Create tasks as a client does; their ids."""
        self.server.wait(self.start("client", keys=list(keys), acks=str(self.acks), **order))
        return [self.acked()[key] for key in keys]

    def acked(self) -> dict[str, str]:
        """Idempotency key -> task id, as acknowledged to the client."""
        if not self.acks.exists():
            return {}
        return dict(line.split("\t") for line in self.acks.read_text(encoding="utf-8").splitlines())

    def crash(self, role: str, point: str, **order: Any) -> str:
        """Let a role run until it kills itself at `point`; the note it left of it, empty if it never came there."""
        note = self.home / f"note {role} {point}"
        self.server.wait(self.start(role, crash=point, note=str(note), **order))
        return note.read_text(encoding="utf-8") if note.exists() else ""

    def task(self, task_id: str) -> Task:
        """The row, which must be there."""
        task = self.store.get(task_id)
        assert task is not None, f"task {task_id} was acknowledged and is lost"
        return task

    def wait_all(self, seconds: float) -> None:
        """Until every acknowledged task has ended."""

        def ended() -> bool:
            depth = self.store.depth()  # one look: a task may move from one number to the other
            return depth.queued + depth.running == 0

        wait_until(ended, seconds, "all tasks to end")

    def settle(self) -> None:
        """Let the grace pass, then collect as janitor and engine do."""
        time.sleep(self.settings.store.orphan_grace_seconds + 0.05)
        Janitor(self.store, self.artifacts, self.settings.store).collect()
        sweep_scratch(self.settings.scratch_dir, self.settings.store.orphan_grace_seconds)

    def close(self) -> None:
        """Kill all roles, close the store."""
        for pid in list(self.server.pids):
            self.server.kill(pid)
        self.store.close()


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.01)


def check_invariants(bench: FaultBench, ids: list[str]) -> None:
    """Invariants 1, 2, 4 and 5 of the specification, over rows, events and files, once all tasks have ended."""
    tasks = [bench.task(task_id) for task_id in ids]
    assert [task.task_id for task in tasks if not task.state.is_terminal] == [], "1: every task ends"
    for task in tasks:
        if task.state is TaskState.SUCCEEDED:
            data = bench.artifacts.local_path(task.artifact_key).read_bytes()
            assert hashlib.sha256(data).hexdigest() == task.artifact_sha256, "2: bytes are those recorded"
            assert len(data) == task.artifact_bytes
    assert sum(event_counts(bench).values()) == len(tasks), "1, 2: one event for each end"
    acked = bench.acked()
    assert len(set(acked.values())) == len(acked), "4: one task for each key"
    page, total = bench.store.list_tasks(TaskFilter("tenant", page_size=100_000))
    assert (len(page), total) == (len(tasks), len(tasks)), "1, 4, 5: the tenant has these tasks and no others"
    depth = bench.store.depth()
    assert (depth.queued, depth.running, depth.queued_gpu_seconds, depth.running_gpu_seconds) == (0, 0, 0.0, 0.0)


def event_counts(bench: FaultBench) -> dict[str, int]:
    """Ended tasks by outcome, as the metrics count them."""
    at = metrics.CLIP_SECONDS.labels.index("outcome")
    counts: dict[str, int] = {}
    for row in bench.store.metric_rows():
        if row.metric == metrics.CLIP_SECONDS.name:
            counts[row.labels[at]] = counts.get(row.labels[at], 0) + row.count
    return counts


def files_nobody_owns(bench: FaultBench) -> list[str]:
    """Files in the artifact store and in scratch that no task names."""
    named = {task.artifact_key for task in all_tasks(bench) if task.artifact_key}
    named |= {media.key for task in all_tasks(bench) for media in task.request.media}
    root = bench.settings.artifact_dir
    stored = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    scratch = bench.settings.scratch_dir
    left = [str(path) for path in scratch.glob("*")] if scratch.exists() else []
    return sorted(stored - named) + left


def all_tasks(bench: FaultBench) -> list[Task]:
    """Every row of the bench's tenant."""
    tasks: list[Task] = bench.store.list_tasks(TaskFilter("tenant", page_size=100_000))[0]
    return tasks
