"""What a database offers to the verbs: named statements inside transactions.

The verbs and the state machine are written once, over these protocols; a database brings its statements (SQL files, or
methods of the in-memory twin) and its way to hold a transaction.

Why compare-and-set is right without SERIALIZABLE: every verb that changes a task first locks that task's row (SQLite:
the whole file; memory: all tables) and decides by what it reads after that. Owners' writes compare (owner, fence) with
the lease under that lock, and a fence never comes back, because every claim adds one to the attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from hhray.errors import InvalidParameter

Value = str | int | float | None
Given = Value | Sequence[str] | Sequence[float]


class Row(Protocol):
    """A result row, read by column name."""

    def __getitem__(self, name: str, /) -> Any:  # noqa: ANN401 - columns have several types
        """The column's value."""

    def keys(self) -> Iterable[str]:
        """The columns' names."""


class Transaction(Protocol):
    """Named statements inside one open transaction; values are bound by name, lists as one value."""

    def all(self, name: str, /, **values: Given) -> Sequence[Row]:
        """All rows."""

    def run(self, name: str, /, **values: Given) -> int:
        """How many rows a statement without result changed."""

    def lock(self, task_id: str) -> None:
        """Wait until no other transaction is changing the task; none begins to until this one ends."""


class Database(Protocol):
    """Transactions of one database, for any number of threads."""

    def write(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        """A transaction that changes rows; a crash may take the last ones that are not durable.

        Raises:
            StoreUnavailable: the database does not answer in a few seconds, or refuses; nothing was changed.
            InvalidParameter: a text is not well-formed Unicode.
        """

    def read(self) -> AbstractContextManager[Transaction]:
        """A transaction that sees one snapshot and waits for nobody. Raises as `write`."""

    def wait_for_work(self, after_sequence: int, timeout: float) -> int:
        """See TaskStore.wait_for_work."""

    def close(self) -> None:
        """Close all connections of this process; later calls raise StoreUnavailable."""


def one(transaction: Transaction, name: str, /, **values: Given) -> Row | None:
    """The first row, None when there is none."""
    rows = transaction.all(name, **values)  # to the end: a statement that also writes must be stepped to completion
    return rows[0] if rows else None


def malformed_text(error: UnicodeEncodeError) -> InvalidParameter:
    """What is raised for a text that no database can keep."""
    return InvalidParameter(f"a text is not well-formed Unicode: it holds half of a surrogate pair ({error.reason})")
