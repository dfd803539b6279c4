"""A SQLite file as threads and processes of one machine share it: connections, transactions, errors.

Write-ahead logging; a state change is on the disk before its verb returns (synchronous=FULL). Renewals and heartbeats
go through a second connection that does not wait for the disk (NORMAL): a power cut may take the last of them.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from deployment.store.named_sql import queries
from deployment.store.statements import Given, Value, malformed_text
from hhray.errors import StoreUnavailable
from hhray.quotas import utc_day, utc_month

BUSY_SECONDS = 10.0
POLL_SECONDS = 0.05  # between two looks for new work: a read of one row, some 20 microseconds

Clock = Callable[[], float]
Synchronous = Literal["FULL", "NORMAL"]


class SqliteTransaction:
    """Named statements inside one open transaction; values are bound by name, lists as JSON text."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queries = queries("sqlite")

    def all(self, name: str, /, **values: Given) -> list[sqlite3.Row]:
        """All rows."""
        return self._connection.execute(self._queries[name], _bound(values)).fetchall()

    def run(self, name: str, /, **values: Given) -> int:
        """How many rows a statement without result changed."""
        return self._connection.execute(self._queries[name], _bound(values)).rowcount

    def lock(self, task_id: str) -> None:
        """Nothing to do: a transaction that writes is the only one."""


def _bound(values: dict[str, Given]) -> dict[str, Value]:
    return {
        # SQLite's JSON functions end a text at a zero byte: another character keeps it from being somebody's id
        name: value
        if value is None or isinstance(value, str | int | float)
        else json.dumps(value, ensure_ascii=False).replace("\\u0000", "\u2400")
        for name, value in values.items()
    }


class _Session:
    """One thread's connection. store_now() is the time its transaction began, in whole milliseconds."""

    def __init__(self, path: Path, synchronous: Synchronous, clock: Clock) -> None:
        self._clock = clock
        self.thread = threading.current_thread()
        self.lock = threading.Lock()  # close() of another thread waits for the transaction's end
        self.now = 0.0
        # mode=rw: a file that somebody removed is an error, never silently a new and empty one
        self.connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        self.connection.row_factory = sqlite3.Row
        self.connection.create_function("store_now", 0, lambda: self.now)
        self.connection.create_function("greatest", 2, max, deterministic=True)  # PostgreSQL's name
        self.connection.create_function("utc_day", 1, utc_day, deterministic=True)
        self.connection.create_function("utc_month", 1, utc_month, deterministic=True)
        try:
            self.connection.execute(f"PRAGMA synchronous = {synchronous}")  # the first look into the file
        except sqlite3.Error:
            self.connection.close()
            raise

    @contextmanager
    def transaction(self, begin: str) -> Iterator[SqliteTransaction]:
        with self.lock:
            self.connection.execute(begin)
            try:
                self.now = round(self._clock(), 3)  # after BEGIN, which may have waited for other writers
                yield SqliteTransaction(self.connection)
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self.lock:
            self.connection.close()


class SqliteDatabase:
    """The file at `path`, which exists and is of this version; `clock` gives seconds since the epoch."""

    def __init__(self, path: Path, clock: Clock = time.time) -> None:
        self._path = path
        self._clock = clock
        self._local = threading.local()
        self._lock = threading.Lock()
        # Writers of this process wait in line here: SQLite lets them try again and again, and some never get through.
        self._turn = threading.Lock()
        self._sessions: list[_Session] = []
        self._closed = threading.Event()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[SqliteTransaction]:
        """A transaction that holds the write lock from its first moment.

        Raises:
            StoreUnavailable: locked for longer than 10 s, disk full, closed, damaged.
            InvalidParameter: a text is not well-formed Unicode.
        """
        if not self._turn.acquire(timeout=BUSY_SECONDS):
            raise StoreUnavailable("the task store does not answer (too many writers); try again in a few seconds")
        try:
            with self._guarded("FULL" if durable else "NORMAL", "BEGIN IMMEDIATE") as transaction:
                yield transaction
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Iterator[SqliteTransaction]:
        """A transaction that sees one snapshot and waits for nobody. Raises as `write`."""
        with self._guarded("FULL", "BEGIN") as transaction:
            yield transaction

    def wait_for_work(self, after_sequence: int, timeout: float) -> int:
        """See TaskStore.wait_for_work. Looks at the file every 50 ms, for writers are other processes, too."""
        deadline = time.monotonic() + timeout
        while True:
            with self.read() as transaction:
                last = int(transaction.all("last_sequence")[0]["last"])
            left = deadline - time.monotonic()
            if last > after_sequence or left <= 0 or self._closed.wait(min(POLL_SECONDS, left)):
                return last

    def close(self) -> None:
        """Close the connections of all threads; later calls raise StoreUnavailable."""
        with self._lock:
            self._closed.set()
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()

    @contextmanager
    def _guarded(self, synchronous: Synchronous, begin: str) -> Iterator[SqliteTransaction]:
        try:
            with self._session(synchronous).transaction(begin) as transaction:
                yield transaction
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the task store does not answer ({error}); try again in a few seconds") from error
        except UnicodeEncodeError as error:
            raise malformed_text(error) from error

    def _session(self, synchronous: Synchronous) -> _Session:
        session: _Session | None = getattr(self._local, synchronous, None)
        if session is None:
            with self._lock:
                if self._closed.is_set():
                    raise StoreUnavailable("the task store is closed: the server is stopping")
                for old in [old for old in self._sessions if not old.thread.is_alive()]:
                    self._sessions.remove(old)
                    old.close()
                session = _Session(self._path, synchronous, self._clock)
                self._sessions.append(session)
            setattr(self._local, synchronous, session)
        return session
