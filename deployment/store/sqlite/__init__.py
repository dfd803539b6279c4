"""The task store on SQLite: one machine, one file, any number of threads and processes."""

from __future__ import annotations

import time
from pathlib import Path

from deployment.store.sqlite.database import Clock, SqliteDatabase
from deployment.store.sqlite.file import open_file
from deployment.store.statement_store import MAIN_CLUSTER, StatementStore


class SqliteStore(StatementStore):
    """The store in the file `path`, created when it does not exist. Not for network file systems.

    Raises:
        ConfigError: the file cannot be opened or created, is no task store, or is of another schema version.
    """

    def __init__(self, path: Path, cluster: str = MAIN_CLUSTER, clock: Clock = time.time) -> None:
        open_file(path)
        super().__init__(SqliteDatabase(path, clock), cluster)
