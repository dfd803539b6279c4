"""The store's verbs about metrics: events of ended tasks, added up in rollup rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from deployment.store.rollup import ClipEvent, Rollup, Series
from deployment.store.statements import Database, Row, Transaction
from hhray.metrics import RollupRow


class MetricVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fold(self) -> int:
        """Add the events that are not folded yet to the rollup rows and drop them; how many.

        The watermark is locked from the first read, so several processes may fold at once.
        """
        with self._database.write() as transaction:
            transaction.all("take_watermark")
            events = transaction.all("new_events")
            if events:
                for (metric, labels), series in _rollup(transaction, events).items():
                    transaction.run(
                        "save_rollup",
                        metric=metric,
                        labels=json.dumps(labels),
                        counts=json.dumps(series.counts),
                        sum_microseconds=series.sum_microseconds,
                    )
                event_ids = [row["event_id"] for row in events]
                transaction.run("move_watermark", event_id=max(event_ids))
                transaction.run("drop_folded", event_ids=event_ids)
            return len(events)

    def metric_rows(self) -> list[RollupRow]:
        """Rollup rows plus the events not folded yet, as one snapshot."""
        with self._database.read() as transaction:
            return _rollup(transaction, transaction.all("new_events")).rows()


def _rollup(transaction: Transaction, events: Sequence[Row]) -> Rollup:
    """Rollup rows and these events, added up."""
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
        for row in events
    )
    return rollup
