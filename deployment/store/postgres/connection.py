"""A connection to a PostgreSQL server that never hangs.

The server's own limits (statement_timeout, lock_timeout) end what is slow; the client's limit ends what does not answer
at all, such as a machine that is gone or a server that is stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow

from hhray.errors import ConfigError

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds after which a verb gives up. `answer` is the client's, and above `statement`, the server's."""

    connect: float = 3.0
    lock: float = 3.0
    statement: float = 4.0
    answer: float = 6.0


class LimitedConnection(psycopg.Connection[DictRow]):
    """Waits at most `answer_seconds` for the server; after that the connection is of no use and is closed."""

    answer_seconds = Limits().answer

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """As psycopg's, with a limit; `timeout` is set by those who wait for notices."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_seconds)
        except psycopg.errors._WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer for {self.answer_seconds:g} s") from error


def limited(limits: Limits) -> type[LimitedConnection]:
    """Connections with this limit on an answer."""

    class Limited(LimitedConnection):
        answer_seconds = limits.answer

    return Limited


def prepare_session(connection: psycopg.Connection[DictRow], limits: Limits) -> None:
    """Set the server's limits for this connection."""
    connection.execute(
        f"SET statement_timeout = {limits.statement * 1000:.0f};"
        f"SET lock_timeout = {limits.lock * 1000:.0f};"
        f"SET idle_in_transaction_session_timeout = {limits.answer * 2000:.0f}"
    )


def checked_url(url: str, limits: Limits) -> str:
    """The URL as libpq reads it, with a limit on connecting and keepalives.

    Raises:
        ConfigError: it cannot be read; the message does not repeat it, for it holds a password.
    """
    try:
        given = conninfo_to_dict(url)
        defaults = {"connect_timeout": max(2, round(limits.connect)), "keepalives_idle": 5, "keepalives_interval": 2}
        return make_conninfo(url, **{name: value for name, value in defaults.items() if name not in given})
    except psycopg.Error:
        raise ConfigError(
            "store.url is not a URL that PostgreSQL's client can read; expected "
            "postgresql://user:password@host:5432/database, with special characters percent-encoded"
        ) from None


def place_of(url: str) -> str:
    """Database and host of a URL, for messages: no user, no password."""
    parts = conninfo_to_dict(url)
    return f"{parts.get('dbname') or 'the default database'} at {parts.get('host') or 'the local socket'}"
