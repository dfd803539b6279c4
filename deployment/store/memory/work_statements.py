"""The statements that engines and metrics use, over tables in memory; queries.sql says what they do."""

from __future__ import annotations

from typing import Any

from deployment.store.memory.tables import Cells
from deployment.store.memory.task_statements import TaskStatements


class WorkStatements(TaskStatements):
    """The rest of the statements."""

    def leases_over(self, limit: int) -> list[Cells]:
        over = [lease for lease in self.tables.leases if lease["lease_until"] <= self.now]
        return sorted(over, key=lambda lease: (lease["lease_until"], lease["task_id"]))[:limit]

    def oldest_bucket(self) -> list[Cells]:
        return [self.tables.tasks.claimable[task_id] for _, _, task_id in self.tables.tasks.ages[:1]]

    def oldest_of_bucket(self, bucket: str, limit: int) -> list[Cells]:
        return [{"task_id": task_id} for _, _, task_id in self.tables.tasks.bucket_ages[bucket][:limit]]

    def claim_tasks(self, task_ids: list[str]) -> list[Cells]:
        claimed = []
        for task_id in dict.fromkeys(task_ids):
            task = self.tables.tasks.claimable.get(task_id)
            if task is None:
                continue
            began = max(self.now, task["submitted_at"])
            self.tables.tasks.update(
                task_id,
                state="RUNNING",
                sequence=None,
                attempt=task["attempt"] + 1,
                scheduled_at=began if task["scheduled_at"] is None else task["scheduled_at"],
                started_at=began,
            )
            claimed.append({"task_id": task_id})
        return claimed

    def insert_leases(self, task_ids: list[str], owner: str, lease_seconds: float) -> int:
        for task in self.tasks_by_id(task_ids):
            self.tables.leases.insert(
                task["task_id"],
                task_id=task["task_id"],
                owner=owner,
                fence=task["attempt"],
                lease_until=self.now + lease_seconds,
                progress=0.0,
                stage="",
            )
        return len(task_ids)

    def renew(
        self, owner: str, lease_seconds: float, task_ids: list[str], fractions: list[float], stages: list[str]
    ) -> list[Cells]:
        renewed = []
        for task_id, fraction, stage in zip(task_ids, fractions, stages, strict=True):
            lease, task = self.tables.leases.get(task_id), self.tables.tasks.get(task_id)
            if lease is not None and task is not None and lease["owner"] == owner:
                until = self.now + lease_seconds
                self.tables.leases.update(task_id, lease_until=until, progress=fraction, stage=stage)
                renewed.append({"task_id": task_id, "cancel_requested": task["cancel_requested"]})
        return renewed

    def held_task(self, task_id: str, owner: str, fence: int) -> list[Cells]:
        claim = ("RUNNING", owner, fence, fence)
        return [
            row
            for row in self.task(task_id, None)
            if (row["state"], row["owner"], row["fence"], row["attempt"]) == claim
        ]

    def drop_lease(self, task_id: str) -> int:
        return self.tables.leases.delete(task_id)

    def count_fault(self, task_id: str, fault: str) -> int:
        (task,) = self.task(task_id, None)
        return self.tables.tasks.update(task_id, faults=task["faults"] + 1, error_message=fault)

    def requeue(self, task_id: str, sequence: int) -> int:
        return self.tables.tasks.update(task_id, state="PENDING", sequence=sequence, started_at=None)

    def end_task(self, task_id: str, **cells: Any) -> int:  # noqa: ANN401 - columns
        (task,) = self.task(task_id, None)
        return self.tables.tasks.update(task_id, sequence=None, ended_at=max(self.now, task["submitted_at"]), **cells)

    def heartbeat(self, engine_id: str, **cells: Any) -> int:  # noqa: ANN401 - columns
        self.tables.engines.put(engine_id, {"engine_id": engine_id, "updated_at": self.now, **cells})
        return 1

    def engines(self, cluster: str, fresh_seconds: float) -> list[Cells]:
        oldest = self.now - fresh_seconds
        found = [row for row in self.tables.engines if row["cluster"] == cluster and row["updated_at"] >= oldest]
        return sorted(found, key=lambda row: str(row["engine_id"]))

    def drop_old_engines(self, old_seconds: float) -> int:
        old = [row["engine_id"] for row in self.tables.engines if row["updated_at"] < self.now - old_seconds]
        return sum(self.tables.engines.delete(engine_id) for engine_id in old)

    def drain_deadline(self, cluster: str) -> list[Cells]:
        row = self.tables.drain.get(cluster)
        return [row] if row else []

    def set_drain(self, cluster: str, seconds: float) -> int:
        self.tables.drain.put(cluster, {"deadline": self.now + seconds})
        return 1

    def end_drain(self, cluster: str) -> int:
        return self.tables.drain.delete(cluster)

    def save_cost(self, name: str, value: str) -> int:
        self.tables.costs.put(name, {"name": name, "value": value})
        return 1

    def costs(self) -> list[Cells]:
        return sorted(self.tables.costs, key=lambda row: str(row["name"]))

    def insert_event(self, **cells: Any) -> int:  # noqa: ANN401 - columns
        event_id = self.tables.next_number("event_id")
        self.tables.events.insert(event_id, event_id=event_id, **cells)
        return 1

    def take_watermark(self) -> list[Cells]:
        return [{"event_id": self.tables.number("watermark")}]

    def move_watermark(self, event_id: int) -> int:
        return self.tables.counters.update("watermark", last=event_id)

    def new_events(self) -> list[Cells]:
        return list(self.tables.events)

    def drop_folded(self, event_ids: list[int]) -> int:
        return sum(self.tables.events.delete(event_id) for event_id in event_ids)

    def rollup(self) -> list[Cells]:
        return list(self.tables.rollup)

    def save_rollup(self, metric: str, labels: str, **cells: Any) -> int:  # noqa: ANN401 - columns
        self.tables.rollup.put((metric, labels), {"metric": metric, "labels": labels, **cells})
        return 1
