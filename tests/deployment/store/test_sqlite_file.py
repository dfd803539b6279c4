"""The file: permissions, versions, other people's files, threads, and a process killed while it writes."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from deployment.store.base import TaskFilter
from deployment.store.migrations import SCHEMA_VERSION
from deployment.store.sqlite import SqliteStore, database
from hhray.errors import ConfigError, StoreUnavailable
from hhray.tasks import Progress

CREATOR = """
import itertools, sys
from pathlib import Path
from deployment.store.sqlite import SqliteStore
from hhray.request import ClipRequest, Mode
from hhray.tasks import NewTask
store = SqliteStore(Path(sys.argv[1]))
request = ClipRequest(model="happyhorse-1.0-t2v", mode=Mode.T2V, prompt="a horse " * 200)
for number in itertools.count():
    task = store.create(NewTask("alice", request, "r", 1.0, True, f"t{number}", 1000.0))
    print(task.task_id, flush=True)
    if number % 3 == 0:
        store.cancel_pending(task.task_id, None)
"""
OPENER = "import sys, pathlib, deployment.store.sqlite as s; s.SqliteStore(pathlib.Path(sys.argv[1])).close()"


@pytest.fixture
def store(path):
    opened = SqliteStore(path)
    yield opened
    opened.close()


def test_the_file_is_for_its_owner_only_and_no_draft_is_left(tmp_path):
    path = tmp_path / "new" / "deep" / "tasks.sqlite3"
    before = os.umask(0)
    try:
        store = SqliteStore(path)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    store.fold()
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    store.close()
    assert list(path.parent.iterdir()) == [path]


def test_tasks_outlive_the_process_that_made_them(store, create, path):
    task = create()
    store.close()
    with closing(SqliteStore(path)) as reopened:
        assert reopened.get(task.task_id) == task


def test_state_changes_wait_for_the_disk_and_renewals_do_not(store, create, path):
    task_id = create().task_id
    store.claim_oldest("e", 100, 1)
    store.renew("e", 100, {task_id: Progress(0.5, "denoise")})
    modes = {
        name: getattr(store._database._local, name).connection.execute("PRAGMA synchronous").fetchone()[0]
        for name in ("FULL", "NORMAL")
    }
    assert modes == {"FULL": 2, "NORMAL": 1}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    ("pragma", "sentence"),
    [
        (f"user_version = {SCHEMA_VERSION + 1}", f"reads version {SCHEMA_VERSION}; run the hhray that wrote it"),
        ("user_version = 1", f"reads version {SCHEMA_VERSION}; stop its servers and run `hhray migrate`"),
        ("application_id = 7", "not a task store"),
    ],
)
def test_another_schema_or_another_programs_file_is_refused(path, pragma, sentence):
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA {pragma}")
    with pytest.raises(ConfigError, match=sentence):
        SqliteStore(path)


@pytest.mark.parametrize("content", [b"", b"a text, not a database\n" * 100])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path, content):
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        SqliteStore(path)
    assert path.read_bytes() == content


def test_a_place_where_no_file_can_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot open the task store"):
        SqliteStore(tmp_path / "file" / "tasks.sqlite3")
    with pytest.raises(ConfigError, match="cannot open the task store"):
        SqliteStore(tmp_path)


def test_a_database_locked_for_too_long_is_unavailable_and_recovers(path, new_task, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with closing(SqliteStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.create(new_task())
        assert store.depth().queued == 0
        other.execute("ROLLBACK")
        store.create(new_task())
        assert store.depth().queued == 1


def test_a_failed_verb_changes_nothing(store, create):
    first = create(task_id="same")
    with pytest.raises(StoreUnavailable):
        create(task_id="same")
    assert [item.task_id for item in store.queued()] == [first.task_id]
    create()
    assert store.depth().queued == 2


def test_a_removed_file_is_never_replaced_by_an_empty_one(path):
    with closing(SqliteStore(path)) as store:
        path.unlink()
        with pytest.raises(StoreUnavailable):
            store.depth()
        assert not path.exists()


def test_close_ends_the_connections_of_all_threads(store, create):
    create()
    leave, inside = threading.Event(), threading.Barrier(5)
    seen = []

    def use():
        store.depth()
        inside.wait()
        leave.wait()
        try:
            store.depth()
        except StoreUnavailable as error:
            seen.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.wait()
    store.close()
    store.close()
    leave.set()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    with pytest.raises(StoreUnavailable):
        store.depth()


def test_a_new_thread_after_close_gets_no_connection(path):
    store = SqliteStore(path)
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.depth()


def test_connections_of_ended_threads_are_closed(store):
    for _ in range(20):
        thread = threading.Thread(target=store.depth)
        thread.start()
        thread.join()
    assert len(store._database._sessions) == 1


def test_many_processes_may_open_a_new_file_at_once(path):
    openers = [subprocess.Popen([sys.executable, "-c", OPENER, str(path)]) for _ in range(4)]
    assert [opener.wait(timeout=30) for opener in openers] == [0] * 4
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("num_lines", [1, 150])
def test_a_process_killed_while_it_writes_loses_nothing_it_acknowledged(path, num_lines):
    creator = subprocess.Popen([sys.executable, "-c", CREATOR, str(path)], stdout=subprocess.PIPE, text=True)
    with creator.stdout as lines:
        acknowledged = [next(lines).strip() for _ in range(num_lines)]
        creator.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in lines if line.endswith("\n")]
    assert creator.wait(timeout=10) == -signal.SIGKILL
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with closing(SqliteStore(path)) as store:
        assert [task_id for task_id in acknowledged if store.get(task_id) is None] == []
        tasks, total = store.list_tasks(TaskFilter("alice", page_size=100_000))
        assert len(acknowledged) <= total <= len(acknowledged) + 1
        num_ended = sum(row.count for row in store.metric_rows() if row.metric == "hhray_clip_seconds")
        assert num_ended == sum(task.state.is_terminal for task in tasks)
