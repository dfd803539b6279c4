"""A store of every database, and short ways to fill it."""

from __future__ import annotations

import itertools
import time
import uuid

import psycopg
import pytest

from deployment.store import open_store
from deployment.store.memory import MemoryStore
from deployment.store.postgres import PostgresStore
from deployment.store.postgres.schema import migrate_database
from deployment.store.sqlite import SqliteStore
from hhray.request import ClipRequest, Mode
from hhray.settings import load_settings
from hhray.tasks import Artifact, NewTask

TABLES = (
    "tasks leases media_claims engines drain costs events rollup create_keys uploads upload_totals webhook_deliveries "
    "webhook_attempts tenant_counters usage_days"
)
EMPTY = "".join(f"DELETE FROM {table};" for table in TABLES.split())
EMPTY += "UPDATE audit_retention SET keep_after = 1e18; DELETE FROM audit; UPDATE audit_retention SET keep_after = 0;"


@pytest.fixture(scope="session")
def migrated_url(postgres_server):
    """A database with the tables of this version."""
    url = postgres_server.url()
    migrate_database(url)
    return url


@pytest.fixture
def postgres_url(migrated_url):
    """The same with nothing in it."""
    empty(migrated_url)
    return migrated_url


def empty(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"{EMPTY} UPDATE sequence SET last = 0; UPDATE watermark SET event_id = 0")


@pytest.fixture
def empty_store(tmp_path, request):
    """Opens an empty store of the database named, with this clock; the one before it is given up."""

    def build(database, clock=time.time):
        if database == "sqlite":
            return SqliteStore(tmp_path / f"{uuid.uuid4()}.sqlite3", clock=clock)
        if database == "memory":
            return MemoryStore(clock=clock)
        empty(request.getfixturevalue("migrated_url"))
        return PostgresStore(request.getfixturevalue("migrated_url"), clock=clock)

    return build


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tasks.sqlite3"


@pytest.fixture(params=["sqlite", "postgres", "memory"])
def database(request):
    return request.param


@pytest.fixture
def overrides(database, path, request):
    """The settings that name an empty store; other processes may open it, unless it is in memory."""
    if database == "postgres":
        return {"store": {"url": request.getfixturevalue("postgres_url")}}
    return {"store": {"url": "memory:test"}} if database == "memory" else {"store": {"sqlite_path": str(path)}}


@pytest.fixture
def store(overrides):
    opened = open_store(load_settings(overrides=overrides))
    yield opened
    opened.close()


@pytest.fixture
def request_of():
    def build(**values):
        return ClipRequest(**{"model": "happyhorse-1.0-t2v", "mode": Mode.T2V, "prompt": "a horse at dawn", **values})

    return build


@pytest.fixture
def new_task(request_of):
    """Builds a NewTask: task ids t0, t1, ... unless given; keywords of NewTask or `clip` for the request."""
    numbers = itertools.count()

    def build(clip=None, **values):
        plain = {
            "tenant": "alice",
            "request": request_of(**(clip or {})),
            "request_id": "r",
            "gpu_seconds": 10.0,
            "ready": True,
            "ttl_seconds": 1000.0,
        }
        task_id = values.pop("task_id", None) or f"t{next(numbers)}"
        return NewTask(task_id=task_id, **{**plain, **values})

    return build


@pytest.fixture
def create(store, new_task):
    return lambda clip=None, **values: store.create(new_task(clip, **values))


@pytest.fixture
def artifact():
    return Artifact(key="t/1.mp4", sha256="ab" * 32, num_bytes=1234)


@pytest.fixture
def events(store):
    """How many ended tasks the metrics know, by outcome."""

    def count():
        outcomes = {}
        for row in store.metric_rows():
            if row.metric == "hhray_clip_seconds":
                outcomes[row.labels[3]] = outcomes.get(row.labels[3], 0) + row.count
        return outcomes

    return count


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def timed(empty_store, database, clock):
    """A store whose clock is the test's."""
    opened = empty_store(database, lambda: clock[0])
    yield opened
    opened.close()
