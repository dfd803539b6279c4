"""The databases faults are injected into: how each is opened, made to give up soon, and taken away for a while."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from deployment.store import open_store
from deployment.store.postgres import PostgresStore
from deployment.store.postgres.connection import Limits
from deployment.store.sqlite import database
from hhray.settings import Settings

if TYPE_CHECKING:
    from postgres_server import PostgresServer


def open_fault_store(settings: Settings, busy_seconds: float = 0.0) -> Any:
    """The store these settings name; with `busy_seconds` its verbs give up after about so long, in this process."""
    url = settings.store.url.get_secret_value()
    if not busy_seconds:
        return open_store(settings)
    if url:
        return PostgresStore(url, limits=Limits(busy_seconds, busy_seconds, busy_seconds, 2 * busy_seconds))
    database.BUSY_SECONDS = busy_seconds
    return open_store(settings)


@contextmanager
def outage(settings: Settings, server: PostgresServer | None = None) -> Iterator[None]:
    """While this lasts the store does not answer: `server` is ended as by a crash and started again, or else another
    process holds the write lock of the SQLite file."""
    if server is not None:
        server.stop()
        try:
            yield
        finally:
            server.start()
        return
    with closing(sqlite3.connect(settings.sqlite_file, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
