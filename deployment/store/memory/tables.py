"""Tables in this process's memory, whose changes can be taken back.

A row is never changed in place but replaced, so that what a reader was given stays as it was.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

from hhray.errors import StoreUnavailable

Cells = dict[str, Any]
Key = str | int | tuple[str, str]
Age = tuple[float, int, str]


def age_of(task: Cells) -> Age:
    """What tasks are ordered by, oldest first: time of submit, order of creation; and the id."""
    return task["submitted_at"], task["number"], task["task_id"]


class Table:
    """Rows by key, in the order they were first put."""

    def __init__(self, journal: list[tuple[Table, Key, Cells | None]]) -> None:
        self._rows: dict[Key, Cells] = {}
        self._journal = journal

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[Cells]:
        return iter(list(self._rows.values()))

    def get(self, key: Key) -> Cells | None:
        """The row; None when there is none."""
        return self._rows.get(key)

    def insert(self, key: Key, **cells: Any) -> None:  # noqa: ANN401 - columns have several types
        """A new row.

        Raises:
            StoreUnavailable: the key is taken, as a database would refuse it.
        """
        if key in self._rows:
            raise StoreUnavailable(f"the task store refuses a second row of the key {key!r}")
        self.put(key, cells)

    def update(self, key: Key, **cells: Any) -> int:  # noqa: ANN401 - as above
        """Change some columns; how many rows that were."""
        row = self._rows.get(key)
        if row is None:
            return 0
        self.put(key, {**row, **cells})
        return 1

    def delete(self, key: Key) -> int:
        """Remove a row; how many that were."""
        if key not in self._rows:
            return 0
        self.put(key, None)
        return 1

    def put(self, key: Key, row: Cells | None) -> None:
        """Set or (None) remove a row, and note what was there before."""
        self._journal.append((self, key, self._rows.get(key)))
        self.restore(key, row)

    def restore(self, key: Key, row: Cells | None) -> None:
        """Set or remove a row without a note."""
        if row is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = row


class TaskTable(Table):
    """Tasks, with an index of those that can be claimed: all of them and, by bucket, their ages, oldest first."""

    def __init__(self, journal: list[tuple[Table, Key, Cells | None]]) -> None:
        super().__init__(journal)
        self.claimable: dict[Key, Cells] = {}
        self.ages: list[Age] = []
        self.bucket_ages: dict[str, list[Age]] = {}

    def restore(self, key: Key, row: Cells | None) -> None:
        """Set or remove a row without a note."""
        super().restore(key, row)
        before = self.claimable.pop(key, None)
        if before is not None:
            for ages in (self.ages, self.bucket_ages[before["bucket"]]):
                del ages[bisect_left(ages, age_of(before))]
        if row is not None and row["state"] == "PENDING" and row["ready"]:
            self.claimable[key] = row
            for ages in (self.ages, self.bucket_ages.setdefault(row["bucket"], [])):
                insort(ages, age_of(row))


class Tables:
    """All tables of one store; who uses them holds a lock (see database.py)."""

    def __init__(self) -> None:
        self.journal: list[tuple[Table, Key, Cells | None]] = []
        self.tasks = TaskTable(self.journal)
        self.leases = Table(self.journal)
        self.media_claims = Table(self.journal)
        self.engines = Table(self.journal)
        self.drain = Table(self.journal)
        self.costs = Table(self.journal)
        self.events = Table(self.journal)
        self.webhook_deliveries = Table(self.journal)
        self.webhook_attempts = Table(self.journal)
        self.rollup = Table(self.journal)
        self.create_keys = Table(self.journal)
        self.uploads = Table(self.journal)
        self.upload_totals = Table(self.journal)
        self.tenant_counters = Table(self.journal)
        self.usage_days = Table(self.journal)
        self.audit = Table(self.journal)
        self.counters = Table(self.journal)
        for name in ("number", "sequence", "event_id", "watermark", "audit_id"):
            self.counters.put(name, {"last": 0})
        self.journal.clear()

    def next_number(self, counter: str) -> int:
        """The counter's next value."""
        last = self.number(counter) + 1
        self.counters.put(counter, {"last": last})
        return last

    def number(self, counter: str) -> int:
        """The last value given out."""
        row = self.counters.get(counter)
        return int(row["last"]) if row else 0

    def take_back(self) -> None:
        """Undo everything since the journal was cleared."""
        while self.journal:
            table, key, row = self.journal.pop()
            table.restore(key, row)
