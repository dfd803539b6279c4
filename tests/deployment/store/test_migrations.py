"""A store of an older version is refused with the remedy, migrated with its tasks, and by one process at a time."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from deployment.store import migrate_store, open_store, ready_store
from deployment.store.migrations import SCHEMA_VERSION, Migrated, migrations
from deployment.store.postgres import PostgresStore
from deployment.store.postgres.schema import migrate_database
from deployment.store.sqlite import SqliteStore
from deployment.store.sqlite.file import migrate_file
from hhray.cli import main
from hhray.errors import ConfigError
from hhray.request import ClipRequest, Mode
from hhray.settings import load_settings
from hhray.tasks import NewTask, Priority

REQUEST = ClipRequest(
    model="happyhorse-1.0-t2v", mode=Mode.T2V, prompt='"deterministic":true \x00', deterministic=False
)
PINNED = REQUEST.model_copy(update={"deterministic": True})
OLD_TASK = """
INSERT INTO tasks (task_id, tenant, api_key_id, request_id, request, model, bucket, gpu_seconds, ready, sequence,
    submitted_at, expires_at)
VALUES ('{name}', 'alice', '', 'r', '{request}', 'happyhorse-1.0-t2v', '{bucket}', 2.5, 1, {sequence}, 100.0, 4e9);
"""
OLD_ROWS = (
    "".join(
        OLD_TASK.format(name=name, request=request.model_dump_json(), bucket=request.shape_key, sequence=sequence)
        for sequence, (name, request) in enumerate({"plain": REQUEST, "pinned": PINNED}.items(), 1)
    )
    + "UPDATE sequence SET last = 2; UPDATE drain SET deadline = 123.0;"
    + "UPDATE tasks SET idempotency_key = 'order-1', submitted_at = 3.9e9 WHERE task_id = 'pinned';"
)


@pytest.fixture
def old_file(path):
    """A file as the first version left it, with two tasks and a drain."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(migrations("sqlite")[1] + OLD_ROWS + "PRAGMA user_version = 1;")
    return path


@pytest.fixture
def new_database(postgres_server):
    """An empty database; gone afterwards."""
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE fresh")
        yield postgres_server.url("fresh")
        connection.execute("DROP DATABASE fresh WITH (FORCE)")


def check_old_tasks(store):
    plain, pinned = store.queued()
    assert (plain.task_id, plain.sequence, plain.gpu_seconds, plain.deterministic) == ("plain", 1, 2.5, False)
    assert (pinned.task_id, pinned.deterministic) == ("pinned", True)
    assert (plain.deadline, plain.priority, plain.reserved) == (0.0, Priority.STANDARD, False)
    assert store.get("plain").request == REQUEST
    (claim, *_) = store.claim_oldest("e", 100, 1)
    assert (claim.task.task_id, claim.fence) == ("plain", 1)
    later = store.create(NewTask("alice", REQUEST, "r", 1.0, True, "later", 1000.0))
    assert store.queued(2)[0].task_id == later.task_id
    again = NewTask("alice", REQUEST, "r", 1.0, True, "again", 1000.0, "order-1", fingerprint="unknown before")
    assert store.create(again).task_id == "pinned"


def test_both_databases_have_the_same_versions():
    assert list(migrations("sqlite")) == list(migrations("postgres")) == list(range(1, SCHEMA_VERSION + 1))


def test_a_file_of_the_first_version_is_refused_and_migrates_with_its_tasks(old_file):
    with pytest.raises(ConfigError, match=r"schema version 1, .* run `hhray migrate`"):
        SqliteStore(old_file)
    assert migrate_file(old_file) == Migrated(1, SCHEMA_VERSION)
    assert migrate_file(old_file) == Migrated(SCHEMA_VERSION, SCHEMA_VERSION)
    with closing(SqliteStore(old_file)) as store:
        check_old_tasks(store)
    with closing(sqlite3.connect(old_file)) as connection:
        assert connection.execute("SELECT * FROM drain").fetchall() == [("main", 123.0)]


def test_a_database_of_the_first_version_is_refused_and_migrates_with_its_tasks(new_database):
    with pytest.raises(ConfigError, match=r"schema version 0, .* run `hhray migrate`"):
        PostgresStore(new_database)
    with psycopg.connect(new_database, autocommit=True) as connection:
        connection.execute(migrations("postgres")[1] + OLD_ROWS)
        connection.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TEXT)")
        connection.execute("INSERT INTO schema_version VALUES (1, '')")
    with pytest.raises(ConfigError, match=r"fresh at 127.0.0.1 has schema version 1"):
        PostgresStore(new_database)
    assert migrate_database(new_database) == Migrated(1, SCHEMA_VERSION)
    with closing(PostgresStore(new_database)) as store:
        check_old_tasks(store)
    with psycopg.connect(new_database, autocommit=True) as connection:
        assert connection.execute("SELECT * FROM drain").fetchall() == [("main", 123.0)]
        connection.execute("INSERT INTO schema_version VALUES (99, '')")
    with pytest.raises(ConfigError, match=r"version 99, .* run the hhray that wrote it"):
        PostgresStore(new_database)
    with pytest.raises(ConfigError, match=r"version 99, .* run the hhray that wrote it"):
        migrate_database(new_database)


def test_migrators_that_start_at_once_take_turns(new_database):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(migrate_database, [new_database] * 4))
    assert {migrated.after for migrated in done} == {SCHEMA_VERSION}
    with psycopg.connect(new_database) as connection:
        rows = connection.execute("SELECT version FROM schema_version ORDER BY version").fetchall()
    assert rows == [(version,) for version in range(1, SCHEMA_VERSION + 1)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(old_file):
    with closing(sqlite3.connect(old_file)) as connection, connection:
        connection.execute("CREATE TABLE costs (something_else INTEGER)")  # the last statement finds its place taken
    with pytest.raises(ConfigError, match="costs"):
        migrate_file(old_file)
    with closing(sqlite3.connect(old_file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "deadline" not in {row[1] for row in connection.execute("PRAGMA table_info(tasks)")}


def test_a_server_on_one_machine_migrates_its_file_when_it_starts(old_file):
    settings = load_settings(overrides={"store": {"sqlite_path": str(old_file)}})
    ready_store(settings)
    with closing(open_store(settings)) as store:
        check_old_tasks(store)


def test_a_store_in_memory_is_for_one_process_only():
    settings = load_settings(overrides={"store": {"url": "memory:x"}})
    with closing(open_store(settings)) as first, closing(open_store(settings)) as second:
        first.create(NewTask("alice", REQUEST, "r", 1.0, True, "t", 1000.0))
        assert [task.task_id for task in second.queued()] == ["t"]
    with closing(open_store(settings)) as later:
        assert later.queued() == []
    with pytest.raises(ConfigError, match="several processes"):
        ready_store(settings)
    with pytest.raises(ConfigError, match="in memory"):
        migrate_store(settings)


def test_the_verb_tells_what_it_did(old_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HHRAY_STORE__SQLITE_PATH", str(old_file))
    assert main(["migrate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"store": str(old_file), "before": 1, "after": SCHEMA_VERSION}
    assert main(["migrate"]) == 0
    assert capsys.readouterr().out == f"{old_file}: has schema version {SCHEMA_VERSION} already\n"


def test_the_verb_makes_a_database_and_keeps_the_password_to_itself(new_database, tmp_path, capsys):
    config = tmp_path / "hhray.yaml"
    config.write_text(f"store:\n  url: {new_database.replace('hhray@', 'hhray:geheim@')}\n")
    assert main(["migrate", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert out == f"PostgreSQL, fresh at 127.0.0.1: schema version none -> {SCHEMA_VERSION}\n"
    PostgresStore(new_database).close()
