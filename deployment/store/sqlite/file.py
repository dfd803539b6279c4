"""The file of a SQLite store: made, checked, and brought to this version."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from deployment.store.migrations import SCHEMA_VERSION, Migrated, check_version, migrations_after
from hhray.errors import ConfigError

APPLICATION_ID = 1751675489  # "hhra"; the first migration sets it
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables, RETURNING
BUSY_SECONDS = 10.0


def open_file(path: Path) -> None:
    """See that a store of this version lies at `path`; a new one where there is no file.

    Raises:
        ConfigError: the file cannot be created or opened, is no task store, or is of another schema version.
    """
    try:
        if not path.exists():
            _create(path)
        with closing(_connect(path)) as connection:
            check_version(f"the task store {path}", _version_of(connection, path))
    except (OSError, sqlite3.Error) as error:
        raise _cannot_open(path, error) from error


def migrate_file(path: Path) -> Migrated:
    """Bring the file to this version, or make a new one. No server may be running on it.

    Each migration is one transaction under the file's write lock: a crash leaves a whole version behind.

    Raises:
        ConfigError: the file cannot be opened or is in use, is no task store, or is of a newer version.
    """
    try:
        if not path.exists():
            _create(path)
            return Migrated(0, SCHEMA_VERSION)
        with closing(_connect(path)) as connection:
            before = _version_of(connection, path)
            _run_migrations(connection, path)
            return Migrated(before, SCHEMA_VERSION)
    except (OSError, sqlite3.Error) as error:
        raise _cannot_open(path, error) from error


def _run_migrations(connection: sqlite3.Connection, path: Path) -> None:
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # under the lock: another process may have been faster
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            rest = migrations_after(f"the task store {path}", "sqlite", version)
            for number, text in rest[:1]:
                for statement in _statements(text):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if not rest:
            return


def _statements(text: str) -> list[str]:
    """The script's statements, one by one: sqlite3's own way to run a script commits first."""
    statements, begun = [], ""
    for line in text.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return statements


def _create(path: Path) -> None:
    """Put a complete, empty store at `path` in one step, unless another process is faster."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old for the task store: it needs 3.37 or newer")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # readable by its owner only
    os.close(handle)
    draft = Path(name)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            _run_migrations(connection, draft)
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)  # the new name, too, survives a power cut
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _connect(path: Path) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _version_of(connection: sqlite3.Connection, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise ConfigError(f"{path} is not a task store of hhray; name another file or remove this one")
    return int(version)


def _cannot_open(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"cannot open the task store {path}: {error}; expected a writable SQLite file or a path for a new one"
    )
