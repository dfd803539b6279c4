"""SIGKILL at random moments, over and over: every acknowledged task ends, once, with the bytes on record."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fault_bench import FaultBench, all_tasks, check_invariants, files_nobody_owns, wait_until
from fork_server import is_alive
from hhray.tasks import TaskState

ENGINES = ("engine 0", "engine 1")
# A killed janitor waits a lease before it reaps, so that it must live for a while now and then.
WEIGHTS = {"engine 0": 46, "engine 1": 46, "client": 6, "janitor": 2}
CANCEL_RATE = 0.1


class Nemesis:
    """Keeps two engines, a janitor and a client alive, and kills one of them at a time, at moments drawn by `seed`."""

    def __init__(self, bench: FaultBench, seed: int, keys: list[str]) -> None:
        self._bench, self._random, self._keys = bench, random.Random(seed), keys
        self._pids: dict[str, int] = {}
        self.kills = Counter[str]()
        self.published: dict[str, tuple[str, str]] = {}
        self.cancelled: set[str] = set()

    def kill(self, count: int, mean_seconds: float) -> None:
        """Kill `count` processes that were alive at the moment of their death."""
        while self.kills.total() < count:
            self._keep_alive()
            time.sleep(self._random.expovariate(1 / mean_seconds))
            (victim,) = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))
            if victim in self._pids and is_alive(self._pids[victim]):
                self._bench.server.kill(self._pids[victim])
                self.kills[victim.split(" ")[0]] += 1
            if self.kills.total() % 25 == 0:
                self.look()
            if self._random.random() < CANCEL_RATE:
                self._cancel()

    def _cancel(self) -> None:
        """Cancel some task that has not ended; an acknowledgement is remembered."""
        tasks = [task.task_id for task in all_tasks(self._bench) if not task.state.is_terminal]
        if tasks and self._bench.store.request_cancel(task_id := self._random.choice(tasks), None):
            self.cancelled.add(task_id)

    def finish(self, seconds: float) -> None:
        """Kill nobody any more until all is done."""
        wait_until(self._all_created, seconds, "all creates")
        self._bench.wait_all(seconds)
        for pid in list(self._bench.server.pids):
            self._bench.server.kill(pid)
        self.look()

    def look(self) -> None:
        """What was a result once must be it for ever."""
        for task in all_tasks(self._bench):
            if task.state is TaskState.SUCCEEDED:
                seen = (task.artifact_key, task.artifact_sha256)
                assert self.published.setdefault(task.task_id, seen) == seen, "published twice"

    def _all_created(self) -> bool:
        self._keep_alive()
        return len(self._bench.acked()) == len(self._keys)

    def _keep_alive(self) -> None:
        for name in WEIGHTS:
            if name not in self._pids or not is_alive(self._pids[name]):
                self._pids[name] = self._start(name)

    def _start(self, name: str) -> int:
        role = name.split(" ", maxsplit=1)[0]
        if role == "client":
            return self._bench.start("client", keys=self._keys, acks=str(self._bench.acks))
        return self._bench.start(role)


def run(bench: FaultBench, seed: int, kills: int, tasks: int, mean_seconds: float) -> dict[str, Any]:
    """Kill, finish, check everything; the figures."""
    print(f"seed {seed}")
    began = time.monotonic()
    nemesis = Nemesis(bench, seed, [f"key-{number}" for number in range(tasks)])
    nemesis.kill(kills, mean_seconds)
    done_under_fire = len(nemesis.published)
    nemesis.finish(60 + 0.1 * tasks)
    rows = [bench.task(task_id) for task_id in bench.acked().values()]
    assert len(rows) == tasks
    cancelled = [row for row in rows if row.state is TaskState.CANCELED]
    lost = [row.task_id for row in rows if row.state not in (TaskState.SUCCEEDED, TaskState.CANCELED)]
    assert lost == []
    assert {row.task_id for row in cancelled} == nemesis.cancelled, "3: an acknowledged cancel is the only end"
    assert [row.task_id for row in cancelled if row.artifact_key] == [], "3: and leaves no result"
    check_invariants(bench, [row.task_id for row in rows])
    bench.settle()
    assert files_nobody_owns(bench) == []
    return {
        "seed": seed,
        "kills": dict(nemesis.kills),
        "tasks": tasks,
        "cancelled": len(cancelled),
        "published_while_killing": done_under_fire,
        "attempts": sum(row.attempt for row in rows),
        "most_attempts_of_a_task": max(row.attempt for row in rows),
        "lost": 0,
        "published_twice": 0,
        "seconds": round(time.monotonic() - began, 1),
    }


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_random_kills_lose_nothing_and_publish_nothing_twice(
    make_bench: Callable[..., FaultBench], database: str
) -> None:
    result = run(make_bench(database), seed=6, kills=30, tasks=30, mean_seconds=0.04)
    print(result)
    assert sum(result["kills"].values()) == 30
    assert result["attempts"] > 30, "engines were killed in the middle of clips"


@pytest.mark.proof
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_thousand_random_kills(
    make_bench: Callable[..., FaultBench], database: str, keep_proof: Callable[[str, dict[str, Any]], None]
) -> None:
    result = run(make_bench(database), seed=2026, kills=1000, tasks=2000, mean_seconds=0.05)
    assert sum(result["kills"].values()) == 1000
    keep_proof(f"random_kills_{database}", {"store": database, **result})
