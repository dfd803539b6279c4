"""The statements that clients, intake and router use, over tables in memory; queries.sql says what they do."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from deployment.store.memory.tables import Cells, Tables, age_of

_ENDED = ("SUCCEEDED", "FAILED", "CANCELED")
_NEW: Cells = {
    "state": "PENDING",
    "cancel_requested": 0,
    "attempt": 0,
    "faults": 0,
    "scheduled_at": None,
    "started_at": None,
    "ended_at": None,
    "error_code": "",
    "error_message": "",
    "artifact_key": "",
    "artifact_sha256": "",
    "artifact_bytes": 0,
    "notice": "",
    "stages": "{}",
    "facts": "{}",
    "deleted": 0,
}
_NO_LEASE: Cells = {"owner": None, "fence": None, "progress": None, "stage": None}


class TaskStatements:
    """`now` is when the transaction began."""

    def __init__(self, tables: Tables, now: float) -> None:
        self.tables = tables
        self.now = now

    def joined(self, task: Cells) -> Cells:
        """A row of the view task_rows."""
        lease = self.tables.leases.get(task["task_id"])
        return {**task, **({name: lease[name] for name in _NO_LEASE} if lease else _NO_LEASE)}

    def next_sequence(self) -> list[Cells]:
        return [{"last": self.tables.next_number("sequence")}]

    def last_sequence(self) -> list[Cells]:
        return [{"last": self.tables.number("sequence")}]

    def insert_task(self, ttl_seconds: float, deadline_seconds: float, **given: Any) -> int:  # noqa: ANN401 - columns
        self.tables.tasks.insert(
            given["task_id"],
            number=self.tables.next_number("number"),
            submitted_at=self.now,
            expires_at=self.now + ttl_seconds,
            deadline=self.now + deadline_seconds if deadline_seconds > 0 else 0.0,
            **_NEW,
            **given,
        )
        return 1

    def task(self, task_id: str, tenant: str | None) -> list[Cells]:
        task = self.tables.tasks.get(task_id)
        seen = task is not None and (tenant is None or (tenant == task["tenant"] and not task["deleted"]))
        return [self.joined(task)] if task is not None and seen else []

    def tasks_by_id(self, task_ids: list[str]) -> list[Cells]:
        return [self.joined(task) for one in set(task_ids) if (task := self.tables.tasks.get(one))]

    def list_tasks(self, limit: int, offset: int, **where: Any) -> list[Cells]:  # noqa: ANN401 - columns
        found = sorted(self._matches(**where), key=age_of, reverse=True)
        return [self.joined(task) for task in found[offset : offset + limit]]

    def count_tasks(self, **where: Any) -> list[Cells]:  # noqa: ANN401 - columns
        return [{"total": len(self._matches(**where))}]

    def _matches(self, start: float | None, end: float | None, **equal: str | None) -> list[Cells]:
        wanted = {name: value for name, value in equal.items() if value is not None}
        return [
            task
            for task in self.tables.tasks
            if not task["deleted"]
            and all(task[name] == value for name, value in wanted.items())
            and (start is None or task["submitted_at"] >= start)
            and (end is None or task["submitted_at"] <= end)
        ]

    def request_cancel(self, task_id: str) -> int:
        return self.tables.tasks.update(task_id, cancel_requested=1)

    def queue_position(self, task_id: str) -> list[Cells]:
        this = self.tables.tasks.get(task_id)
        if this is None or this["state"] != "PENDING":
            return []
        return [{"position": bisect_left(self.tables.tasks.ages, age_of(this))}]

    def depth(self) -> list[Cells]:
        work: dict[str, list[float]] = {}
        for task in self.tables.tasks:
            if task["state"] not in _ENDED:
                work.setdefault(task["state"], []).append(task["gpu_seconds"])
        return [{"state": state, "tasks": len(parts), "gpu_seconds": sum(parts)} for state, parts in work.items()]

    def media_candidate(self, task_id: str | None) -> list[Cells]:
        free = [
            task
            for task in self.tables.tasks
            if task["state"] == "PENDING"
            and not task["ready"]
            and task_id in (None, task["task_id"])
            and not self._media_held(task["task_id"])
        ]
        return [{"task_id": task["task_id"]} for task in sorted(free, key=age_of)[:1]]

    def _media_held(self, task_id: str) -> bool:
        claim = self.tables.media_claims.get(task_id)
        return claim is not None and claim["lease_until"] > self.now

    def claim_media(self, task_id: str, owner: str, lease_seconds: float) -> int:
        if self._media_held(task_id):
            return 0
        self.tables.media_claims.put(task_id, {"owner": owner, "lease_until": self.now + lease_seconds})
        return 1

    def media_task(self, task_id: str, owner: str) -> list[Cells]:
        claim = self.tables.media_claims.get(task_id)
        return self.task(task_id, None) if claim and claim["owner"] == owner else []

    def media_ready(self, task_id: str, **cells: Any) -> int:  # noqa: ANN401 - columns
        return self.tables.tasks.update(task_id, ready=1, **cells)

    def drop_media_claim(self, task_id: str) -> int:
        return self.tables.media_claims.delete(task_id)

    def queued(self, after_sequence: int) -> list[Cells]:
        found = [task for task in self.tables.tasks.claimable.values() if task["sequence"] > after_sequence]
        return sorted(found, key=lambda task: int(task["sequence"]))

    def drop_expired(self, limit: int) -> list[Cells]:
        found = [task for task in self._expired() if task["state"] in _ENDED][:limit]
        for task in found:
            self.tables.tasks.delete(task["task_id"])
        return found

    def expired_pending(self, limit: int) -> list[Cells]:
        return [task for task in self._expired() if task["state"] == "PENDING"][:limit]

    def _expired(self) -> list[Cells]:
        found = [task for task in self.tables.tasks if task["expires_at"] <= self.now]
        return sorted(found, key=lambda task: (task["expires_at"], task["number"]))
