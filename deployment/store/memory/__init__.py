"""The task store in this process's memory, for tests: the same verbs, other statements.

It is a model of the databases, too: tests run one history on both and compare. Statements are methods here, not SQL.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from deployment.store.memory.create_statements import CreateKeyStatements
from deployment.store.memory.tables import Cells, Tables
from deployment.store.memory.tenant_statements import TenantStatements
from deployment.store.memory.upload_statements import UploadStatements
from deployment.store.memory.video_statements import VideoStatements
from deployment.store.memory.webhook_statements import WebhookStatements
from deployment.store.statement_store import MAIN_CLUSTER, StatementStore
from deployment.store.statements import Given, malformed_text
from hhray.errors import StoreUnavailable

Clock = Callable[[], float]


class Statements(CreateKeyStatements, UploadStatements, WebhookStatements, VideoStatements, TenantStatements):
    """All of them."""


class MemoryTransaction:
    """Named statements of one transaction."""

    def __init__(self, tables: Tables, now: float) -> None:
        self._statements = Statements(tables, now)

    def all(self, name: str, /, **values: Given) -> list[Cells]:
        """All rows."""
        rows: list[Cells] = self._call(name, values)
        return rows

    def run(self, name: str, /, **values: Given) -> int:
        """How many rows a statement without result changed."""
        changed: int = self._call(name, values)
        return changed

    def lock(self, task_id: str) -> None:
        """Nothing to do: there is one transaction at a time."""

    def _call(self, name: str, values: dict[str, Given]) -> Any:  # noqa: ANN401 - rows or a number
        for value in values.values():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    text.encode()  # refused here as by a database
        return getattr(self._statements, name)(**values)


class SharedTables:
    """Tables that several stores of this process may share, and the lock they take turns with.

    When the last of them is closed, the tables are empty again.
    """

    def __init__(self) -> None:
        self.tables = Tables()
        self.users = 0
        self.turn = threading.Condition()


class MemoryDatabase:
    """One store's way to the shared tables; `clock` gives seconds since the epoch."""

    def __init__(self, shared: SharedTables, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._closed = False
        with shared.turn:
            shared.users += 1

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[MemoryTransaction]:  # noqa: ARG002 - there is no disk
        """The only transaction of its time; what it changed is taken back when it fails. Raises as Database.write."""
        with self._shared.turn:
            if self._closed:
                raise StoreUnavailable("the task store is closed: the server is stopping")
            tables = self._shared.tables
            try:
                yield MemoryTransaction(tables, round(self._clock(), 3))
            except BaseException as error:
                tables.take_back()
                if isinstance(error, UnicodeEncodeError):
                    raise malformed_text(error) from error
                raise
            tables.journal.clear()
            self._shared.turn.notify_all()

    read = write

    def wait_for_work(self, after_sequence: int, timeout: float) -> int:
        """See TaskStore.wait_for_work."""
        with self._shared.turn:
            if self._closed:
                raise StoreUnavailable("the task store is closed: the server is stopping")
            self._shared.turn.wait_for(lambda: self._closed or self._last_sequence() > after_sequence, timeout)
            return self._last_sequence()

    def _last_sequence(self) -> int:
        return self._shared.tables.number("sequence")

    def close(self) -> None:
        """Later calls raise StoreUnavailable; other stores on the same tables go on."""
        with self._shared.turn:
            if not self._closed:
                self._closed = True
                self._shared.users -= 1
                if not self._shared.users:
                    self._shared.tables = Tables()
            self._shared.turn.notify_all()


class MemoryStore(StatementStore):
    """A store of this process; `shared` are another's tables, None: new ones."""

    def __init__(
        self, shared: SharedTables | None = None, cluster: str = MAIN_CLUSTER, clock: Clock = time.time
    ) -> None:
        self.shared = shared or SharedTables()
        super().__init__(MemoryDatabase(self.shared, clock), cluster)
