"""A store with tasks in it, for the tests of what works on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployment.artifacts import ArtifactStore, open_artifacts
from deployment.store.sqlite import SqliteStore
from hhray.geometry import Ratio, Resolution
from hhray.request import ClipRequest, Mode
from hhray.settings import Settings
from hhray.tasks import NewTask, Task
from postgres_server import PostgresServer, programs
from s3_server import S3Server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests; where PostgreSQL is not installed they are skipped."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: initdb is neither on the path nor below /usr/lib/postgresql")
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3-compatible server for all tests."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture(params=["directory", "s3"])
def artifact_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a server whose files lie in a directory, then in an S3-compatible store."""
    if request.param == "directory":
        return Settings(data_dir=str(tmp_path), engine={"preset": "pico"})
    server = request.getfixturevalue("s3_server")
    server.gate.reset()
    return server.settings(tmp_path, gated=True, s3={"timeout_seconds": 10})


@pytest.fixture
def artifacts(artifact_settings: Settings) -> ArtifactStore:
    return open_artifacts(artifact_settings, b"secret of the tests")


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
