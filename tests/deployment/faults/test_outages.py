"""The task store is away for several leases: clips go on, are kept, and are published when it is back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from fault_bench import FaultBench, check_invariants, wait_until
from fault_stores import outage
from hhray.tasks import TaskState
from postgres_server import PostgresServer

BUSY_SECONDS = 0.2


def run(bench: FaultBench, server: PostgresServer | None, seconds: float) -> dict[str, Any]:
    """Take the store away while three clips run, and kill the engine of the third meanwhile."""
    ids = bench.submit("kept", "kept too", "killed")
    bench.start("janitor", busy_seconds=BUSY_SECONDS)
    gate = bench.home / "gate"  # clips run, and their steps are made while the store is away
    options = {"busy_seconds": BUSY_SECONDS, "gate": str(gate)}
    engines = [bench.start("engine", tasks=[task_id], **options) for task_id in ids]
    wait_until(lambda: bench.store.depth().running == 3, 30, "three clips to run")
    with outage(bench.settings, server):
        began = time.monotonic()
        bench.server.kill(engines[2])
        gate.touch()
        time.sleep(seconds)
        finished = list(bench.settings.artifact_dir.glob("clips/*/*/*.mp4"))
        assert len(finished) == 2, "both clips were finished and stored while nobody could record it"
        away = time.monotonic() - began
    back = time.monotonic()
    wait_until(lambda: bench.task(ids[0]).state is TaskState.SUCCEEDED, 30, "the first clip")
    wait_until(lambda: bench.task(ids[1]).state is TaskState.SUCCEEDED, 30, "the second clip")
    published = time.monotonic() - back
    bench.wait_all(120)
    kept, kept_too, killed = (bench.task(task_id) for task_id in ids)
    assert (kept.attempt, kept.faults, kept_too.attempt, kept_too.faults) == (1, 0, 1, 0), "nobody took them away"
    assert (killed.state, killed.attempt, killed.faults) == (TaskState.SUCCEEDED, 2, 1), "the dead one's was requeued"
    check_invariants(bench, ids)
    return {"seconds_away": round(away, 1), "published_seconds_after": round(published, 2)}


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def server(request: pytest.FixtureRequest, database: str) -> PostgresServer | None:
    """What is stopped to make an outage; None: a file is locked."""
    return request.getfixturevalue("postgres_server") if database == "postgres" else None


def test_clips_outlive_the_store_and_its_leases(
    make_bench: Callable[..., FaultBench], database: str, server: PostgresServer | None
) -> None:
    run(make_bench(database, lease_seconds=0.6), server, seconds=1.8)


@pytest.mark.proof
def test_a_store_that_is_away_for_a_minute(
    make_bench: Callable[..., FaultBench],
    database: str,
    server: PostgresServer | None,
    keep_proof: Callable[[str, dict[str, Any]], None],
) -> None:
    result = run(make_bench(database, lease_seconds=20.0), server, seconds=60.0)
    keep_proof(f"store_outage_{database}", {"store": database, "lease_seconds": 20.0, **result})
