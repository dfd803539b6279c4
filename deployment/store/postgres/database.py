"""A PostgreSQL database as threads, processes and machines share it: transactions, the wake-up hint, errors.

Transactions that write run at READ COMMITTED: each statement sees what was committed before it, so what is read after a
row's lock is the row's newest state. Those that only read see one snapshot. Renewals, heartbeats and learned costs do
not wait for the disk (synchronous_commit off): a crash of the server may take the last of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any, LiteralString

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from deployment.store.named_sql import queries, with_percent_parameters
from deployment.store.postgres.connection import Limits, limited, prepare_session
from deployment.store.statements import Given, malformed_text
from hhray.errors import StoreUnavailable

_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_LAZY = f"{_WRITE}; SET LOCAL synchronous_commit = off"
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_LISTEN_SECONDS = 0.5  # a hint may be lost: so often the counter is looked at anyway
Clock = Callable[[], float]


@cache
def _statements() -> dict[str, LiteralString]:
    """The named statements as the driver reads them; all of them ship with this package."""
    return {name: with_percent_parameters(text) for name, text in queries("postgres").items()}


class PostgresTransaction:
    """Named statements inside one open transaction; values are bound by name, lists as arrays."""

    def __init__(self, connection: psycopg.Connection[DictRow]) -> None:
        self._connection = connection

    def all(self, name: str, /, **values: Given) -> list[DictRow]:
        """All rows."""
        return self._connection.execute(_statements()[name], _bound(values)).fetchall()

    def run(self, name: str, /, **values: Given) -> int:
        """How many rows a statement without result changed."""
        return self._connection.execute(_statements()[name], _bound(values)).rowcount

    def lock(self, task_id: str) -> None:
        """Wait until no other transaction is changing the task; none begins to until this one ends."""
        self.run("lock_task", task_id=task_id)


def _bound(values: dict[str, Given]) -> dict[str, Any]:
    """PostgreSQL's texts hold no zero byte: another character keeps it from being somebody's id."""

    def kept(value: Any) -> Any:  # noqa: ANN401 - one of Given's types
        if isinstance(value, str):
            return value.replace("\x00", "\u2400")
        return value if value is None or isinstance(value, int | float) else [kept(item) for item in value]

    return {name: kept(value) for name, value in values.items()}


class PostgresDatabase:
    """The database that `conninfo` names, whose tables are of this version.

    `clock` replaces the server's, for tests. At most `connections` are open at once, and one more that listens.
    """

    def __init__(
        self, conninfo: str, connections: int = 8, limits: Limits | None = None, clock: Clock | None = None
    ) -> None:
        self._conninfo = conninfo
        self._limits = limits or Limits()
        self._clock = clock
        self._closed = threading.Event()
        self._listening = threading.Lock()
        self._listener: psycopg.Connection[DictRow] | None = None
        connection_class = limited(self._limits)
        self._connect = partial(connection_class.connect, conninfo, autocommit=True, row_factory=dict_row)
        self._pool: ConnectionPool[psycopg.Connection[DictRow]] = ConnectionPool(
            conninfo,
            connection_class=connection_class,
            kwargs={"autocommit": True, "row_factory": dict_row},
            configure=partial(prepare_session, limits=self._limits),
            min_size=1,
            max_size=max(1, connections),
            timeout=self._limits.connect,
            # given up early, because the next verb tries anew: a database that is back is used at once
            reconnect_timeout=self._limits.connect,
            name="task-store",
            open=True,
        )

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[PostgresTransaction]:
        """A transaction that changes rows; it waits a few seconds for a row's lock. Raises as Database.write."""
        with self._transaction(_WRITE if durable else _LAZY) as transaction:
            yield transaction

    @contextmanager
    def read(self) -> Iterator[PostgresTransaction]:
        """A transaction that sees one snapshot and waits for nobody. Raises as `write`."""
        with self._transaction(_READ) as transaction:
            yield transaction

    def wait_for_work(self, after_sequence: int, timeout: float) -> int:
        """See TaskStore.wait_for_work. Woken by NOTIFY of whoever makes a task claimable."""
        deadline = time.monotonic() + timeout
        with self._listening, self._errors():
            while True:
                # listening first, then the look: a notice in between is not lost
                listener = self._listen()
                last = int(PostgresTransaction(listener).all("last_sequence")[0]["last"])
                left = deadline - time.monotonic()
                if last > after_sequence or left <= 0 or self._closed.is_set():
                    return last
                for _ in listener.notifies(timeout=min(left, _LISTEN_SECONDS), stop_after=1):
                    pass

    def close(self) -> None:
        """Close all connections; later calls raise StoreUnavailable."""
        self._closed.set()
        self._pool.close(timeout=self._limits.connect)
        with self._listening:
            if self._listener is not None:
                self._listener.close()

    def _listen(self) -> psycopg.Connection[DictRow]:
        if self._closed.is_set():
            raise StoreUnavailable("the task store is closed: the server is stopping")
        if self._listener is None or self._listener.closed:
            self._listener = self._connect()
            prepare_session(self._listener, self._limits)
            self._listener.execute("LISTEN hhray_work")
        return self._listener

    @contextmanager
    def _transaction(self, begin: LiteralString) -> Iterator[PostgresTransaction]:
        with self._errors():
            connection = self._begun(begin)
            try:
                if self._clock is not None:
                    connection.execute("SELECT set_config('hhray.clock', %s, true)", [repr(round(self._clock(), 3))])
                yield PostgresTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(psycopg.Error):  # a connection that cannot roll back is closed by the pool
                    connection.rollback()
                raise
            finally:
                self._pool.putconn(connection)

    def _begun(self, begin: LiteralString) -> psycopg.Connection[DictRow]:
        """A connection with an open transaction. One that broke while it lay in the pool is replaced."""
        deadline = time.monotonic() + self._limits.connect
        while True:
            connection = self._pool.getconn(timeout=max(0.1, deadline - time.monotonic()))
            try:
                connection.execute(begin)
            except BaseException as error:
                self._pool.putconn(connection)
                if isinstance(error, psycopg.OperationalError) and time.monotonic() < deadline:
                    continue
                raise
            return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except PoolClosed:
            raise StoreUnavailable("the task store is closed: the server is stopping") from None
        except PoolTimeout as error:
            raise StoreUnavailable(
                "the task store does not answer (no connection to PostgreSQL); try again in a few seconds"
            ) from error
        except psycopg.Error as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StoreUnavailable(f"the task store does not answer ({reason}); try again in a few seconds") from error
        except UnicodeEncodeError as error:
            raise malformed_text(error) from error
