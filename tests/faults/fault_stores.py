"""The databases faults are injected into: how each is opened, made to give up soon, and taken away for a while."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from deployment.store import database
from deployment.store.sqlite import SqliteStore
from hhray.settings import Settings


def open_fault_store(settings: Settings, busy_seconds: float = 0.0) -> Any:
    """The store these settings name; with `busy_seconds` its verbs give up after so long, in this whole process."""
    if busy_seconds:
        database.BUSY_SECONDS = busy_seconds
    return SqliteStore(settings.sqlite_file)


@contextmanager
def outage(settings: Settings) -> Iterator[None]:
    """No process can write while this lasts: another one holds the file's write lock."""
    with closing(sqlite3.connect(settings.sqlite_file, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
