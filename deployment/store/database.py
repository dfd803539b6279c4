"""A SQLite file as threads and processes of one machine share it: connections, transactions, errors.

Write-ahead logging; a state change is on the disk before its verb returns (synchronous=FULL). Renewals and heartbeats
go through a second connection that does not wait for the disk (NORMAL): a power cut may take the last of them.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

from deployment.store.named_sql import queries, read_sql
from hhray.errors import ConfigError, InvalidParameter, StoreUnavailable

BUSY_SECONDS = 10.0
APPLICATION_ID = 1751675489  # "hhra"; schema.sql sets it
SCHEMA_VERSION = 1
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables, RETURNING

Synchronous = Literal["FULL", "NORMAL"]
Value = str | int | float | None


class Transaction:
    """Named statements (queries.sql) inside one open transaction; values are bound by name."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, name: str, **values: Value) -> list[sqlite3.Row]:
        """All rows."""
        return self._connection.execute(queries()[name], values).fetchall()

    def one(self, name: str, **values: Value) -> sqlite3.Row | None:
        """The first row, None when there is none."""
        rows = self.all(name, **values)  # to the end: a RETURNING statement must be stepped to completion
        return rows[0] if rows else None

    def run(self, name: str, **values: Value) -> int:
        """How many rows a statement without result changed."""
        return self._connection.execute(queries()[name], values).rowcount


class _Session:
    """One thread's connection. The SQL function now() is the time its transaction began, in whole milliseconds."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
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
        self.connection.create_function("now", 0, lambda: self.now)
        try:
            self.connection.execute(f"PRAGMA synchronous = {synchronous}")  # the first look into the file
        except sqlite3.Error:
            self.connection.close()
            raise

    @contextmanager
    def transaction(self, begin: str) -> Iterator[Transaction]:
        with self.lock:
            self.connection.execute(begin)
            try:
                self.now = round(time.time(), 3)  # after BEGIN, which may have waited for other writers
                yield Transaction(self.connection)
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self.lock:
            self.connection.close()


class Database:
    """The file at `path`, created with owner-only permissions when it does not exist.

    Raises:
        ConfigError: the file cannot be created or opened, is no task store, or is of another schema version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[_Session] = []
        self._closed = False
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old for the task store: it needs 3.37 or newer")
        try:
            if not path.exists():
                _create(path)
            _check(path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cannot open the task store {path}: {error}; expected a writable SQLite file or a path for a new one"
            ) from error

    @contextmanager
    def write(self, synchronous: Synchronous = "FULL") -> Iterator[Transaction]:
        """A transaction that holds the write lock from its first moment.

        Raises:
            StoreUnavailable: locked for longer than 10 s, disk full, closed, damaged.
            InvalidParameter: a text is not well-formed Unicode.
        """
        with self._guarded(synchronous, "BEGIN IMMEDIATE") as transaction:
            yield transaction

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that sees one snapshot and waits for nobody. Raises as `write`."""
        with self._guarded("FULL", "BEGIN") as transaction:
            yield transaction

    def close(self) -> None:
        """Close the connections of all threads; later calls raise StoreUnavailable."""
        with self._lock:
            self._closed = True
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()

    @contextmanager
    def _guarded(self, synchronous: Synchronous, begin: str) -> Iterator[Transaction]:
        try:
            with self._session(synchronous).transaction(begin) as transaction:
                yield transaction
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the task store does not answer ({error}); try again in a few seconds") from error
        except UnicodeEncodeError as error:
            raise InvalidParameter("a text is not well-formed Unicode: it holds half of a surrogate pair") from error

    def _session(self, synchronous: Synchronous) -> _Session:
        session: _Session | None = getattr(self._local, synchronous, None)
        if session is None:
            with self._lock:
                if self._closed:
                    raise StoreUnavailable("the task store is closed: the server is stopping")
                for old in [old for old in self._sessions if not old.thread.is_alive()]:
                    self._sessions.remove(old)
                    old.close()
                session = _Session(self._path, synchronous)
                self._sessions.append(session)
            setattr(self._local, synchronous, session)
        return session


def _create(path: Path) -> None:
    """Put a complete, empty store at `path` in one step, unless another process is faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # readable by its owner only
    os.close(handle)
    draft = Path(name)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN;{read_sql('schema.sql')}COMMIT;")
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)  # the new name, too, survives a power cut
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _check(path: Path) -> None:
    with closing(_Session(path, "FULL").connection) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise ConfigError(f"{path} is not a task store of hhray; name another file or remove this one")
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"the task store {path} has schema version {version}, this hhray reads version {SCHEMA_VERSION}; "
            "run the hhray that wrote it, or name another file"
        )
