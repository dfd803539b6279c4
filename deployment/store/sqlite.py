"""The task store on SQLite: one machine, one file, any number of threads and processes.

A thin layer of verbs over named statements (queries.sql, schema.sql). The state machine's moves are in transitions.py,
connections and transactions in database.py, the metrics' arithmetic in rollup.py.
"""

from __future__ import annotations

import json
from pathlib import Path

from deployment.store.base import TaskStore
from deployment.store.database import Database, Transaction
from deployment.store.rollup import ClipEvent, Rollup, Series
from deployment.store.rows import engine_of
from deployment.store.sqlite_clients import ClientVerbs
from deployment.store.sqlite_work import EngineVerbs, MediaVerbs, RouterVerbs
from hhray.metrics import RollupRow
from hhray.tasks import EngineRecord


class SqliteStore(ClientVerbs, MediaVerbs, RouterVerbs, EngineVerbs, TaskStore):
    """The store in the file `path`, created when it does not exist. Not for network file systems.

    Raises:
        ConfigError: the file cannot be opened or created, is no task store, or is of another schema version.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(Database(path))

    def heartbeat(self, record: EngineRecord) -> float | None:
        """Record that an engine lives; returns the drain deadline, None when there is no drain."""
        with self._database.write("NORMAL") as transaction:
            transaction.run(
                "heartbeat",
                engine_id=record.engine_id,
                world_size=record.world_size,
                preset=record.preset,
                state=record.state,
                detail=json.dumps(record.detail),
            )
            (deadline,) = transaction.all("drain_deadline")[0]
            return None if deadline is None else float(deadline)

    def engines(self, fresh_seconds: float) -> list[EngineRecord]:
        """Engines whose heartbeat is at most that old, by id."""
        with self._database.read() as transaction:
            return [engine_of(row) for row in transaction.all("engines", fresh_seconds=fresh_seconds)]

    def set_drain(self, seconds: float | None) -> None:
        """Ask all engines to stop claiming now and to give up running clips after `seconds`; None ends the drain."""
        with self._database.write() as transaction:
            transaction.run("set_drain", seconds=seconds)

    def fold(self) -> int:
        """Add events past the watermark to the rollup rows and drop them; how many.

        The write lock is held from the first read, so several processes may fold at once.
        """
        with self._database.write() as transaction:
            events = transaction.all("new_events")
            if events:
                rollup = _rollup(transaction)
                for (metric, labels), series in rollup.items():
                    transaction.run(
                        "save_rollup",
                        metric=metric,
                        labels=json.dumps(labels),
                        counts=json.dumps(series.counts),
                        sum_microseconds=series.sum_microseconds,
                    )
                transaction.run("move_watermark", event_id=events[-1]["event_id"])
                transaction.run("drop_folded")
            return len(events)

    def metric_rows(self) -> list[RollupRow]:
        """Rollup rows plus the events not folded yet, as one snapshot."""
        with self._database.read() as transaction:
            return _rollup(transaction).rows()

    def close(self) -> None:
        """Close this process's connections; verbs called later raise StoreUnavailable."""
        self._database.close()


def _rollup(transaction: Transaction) -> Rollup:
    """Rollup rows and events past the watermark, added up."""
    rollup = Rollup()
    for row in transaction.all("rollup"):
        key = (row["metric"], tuple(json.loads(row["labels"])))
        rollup[key] = Series(json.loads(row["counts"]), row["sum_microseconds"])
    rollup.add(
        ClipEvent(
            row["resolution"],
            row["duration"],
            row["mode"],
            row["outcome"],
            row["clip_milliseconds"],
            json.loads(row["stages"]),
        )
        for row in transaction.all("new_events")
    )
    return rollup
