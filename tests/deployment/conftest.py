"""A store with tasks in it, for the tests of what works on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployment.store.sqlite import SqliteStore
from hhray.geometry import Ratio, Resolution
from hhray.request import ClipRequest, Mode
from hhray.tasks import NewTask, Task
from postgres_server import PostgresServer, programs


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests; where PostgreSQL is not installed they are skipped."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: initdb is neither on the path nor below /usr/lib/postgresql")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def task_store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "tasks.sqlite3")
    yield store
    store.close()


@pytest.fixture
def add_task(task_store: SqliteStore) -> Callable[..., Task]:
    """Insert a claimable task."""

    def add(ratio: Ratio = Ratio.R1_1, duration: int = 3) -> Task:
        request = ClipRequest(
            model="happyhorse-1.0-t2v",
            mode=Mode.T2V,
            prompt="a bell",
            resolution=Resolution.P256,
            ratio=ratio,
            duration=duration,
        )
        return task_store.create(NewTask("tenant", request, "request", 1.0, True, str(uuid.uuid4()), 3600.0))

    return add
