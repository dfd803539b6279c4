"""The store's verbs about engines as a whole: heartbeats, the drain of a cluster, learned costs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from deployment.store.rows import engine_of
from deployment.store.statements import Database, one
from hhray.tasks import EngineRecord


class ClusterVerbs:
    """See deployment.store.base.TaskStore. `cluster` names the engines that this process belongs to."""

    def __init__(self, database: Database, cluster: str) -> None:
        self._database = database
        self._cluster = cluster

    def heartbeat(self, record: EngineRecord) -> float | None:
        """Record that an engine of this cluster lives; returns the drain deadline, None when there is no drain."""
        with self._database.write(durable=False) as transaction:
            transaction.run(
                "heartbeat",
                engine_id=record.engine_id,
                world_size=record.world_size,
                preset=record.preset,
                state=record.state,
                detail=json.dumps(record.detail),
                cluster=self._cluster,
            )
            row = one(transaction, "drain_deadline", cluster=self._cluster)
        return None if row is None else float(row["deadline"])

    def engines(self, fresh_seconds: float) -> list[EngineRecord]:
        """Engines of this cluster whose heartbeat is at most that old, by id."""
        with self._database.read() as transaction:
            rows = transaction.all("engines", fresh_seconds=float(fresh_seconds), cluster=self._cluster)
        return [engine_of(row) for row in rows]

    def set_drain(self, seconds: float | None) -> None:
        """Ask this cluster's engines to stop claiming now and to give up running clips after `seconds`.

        None ends the drain. Engines of other clusters on the same store go on.
        """
        with self._database.write() as transaction:
            if seconds is None:
                transaction.run("end_drain", cluster=self._cluster)
            else:
                transaction.run("set_drain", cluster=self._cluster, seconds=float(seconds))

    def save_costs(self, rows: Mapping[str, str]) -> None:
        """Keep what was learned about the cost of these classes (JSON text by name); other classes stay."""
        with self._database.write(durable=False) as transaction:
            for name in sorted(rows):  # in one order, or two processes could wait for each other
                transaction.run("save_cost", name=name, value=rows[name])

    def costs(self) -> dict[str, str]:
        """What was learned so far, by name of the class."""
        with self._database.read() as transaction:
            return {row["name"]: row["value"] for row in transaction.all("costs")}
