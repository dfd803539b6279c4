"""One fork server for all fault tests, and a bench for each."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deployment.store.postgres.schema import migrate_database
from fault_bench import FaultBench
from fork_server import ForkServer
from postgres_server import PostgresServer


@pytest.fixture(scope="package")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    server = ForkServer(tmp_path_factory.mktemp("fork-server") / "children.log")
    yield server
    server.close()
    text = server.log.read_text(encoding="utf-8") if server.log.exists() else ""
    assert "Traceback" not in text, text[-4000:]


@pytest.fixture(scope="package")
def new_url(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The URL of a new and empty database of a kind; empty for SQLite, which is a file."""

    def make(database: str) -> str:
        if database == "sqlite":
            return ""
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = f"faults_{uuid.uuid4().hex}"
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        migrate_database(server.url(name))
        return server.url(name)

    return make


@pytest.fixture
def make_bench(
    tmp_path: Path, fork_server: ForkServer, new_url: Callable[[str], str]
) -> Iterator[Callable[..., FaultBench]]:
    benches: list[FaultBench] = []

    def make(database: str, **options: Any) -> FaultBench:
        benches.append(FaultBench(tmp_path, fork_server, url=new_url(database), **options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()
