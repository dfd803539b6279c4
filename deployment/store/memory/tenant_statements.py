"""The statements about tenants, over tables in memory; queries.sql says what they do."""

from __future__ import annotations

from typing import Any

from deployment.store.memory.tables import Cells
from deployment.store.memory.work_statements import WorkStatements
from hhray.quotas import utc_day, utc_month

_SUMS = ("clips", "failures", "cancels", "video_ms", "gpu_ms")


class TenantStatements(WorkStatements):
    """Quotas, usage, audit."""

    def admit(
        self,
        tenant: str,
        interval: float,
        tolerance: float,
        most_unfinished: int,
        gpu_ms: int,
        most_gpu_ms: int,
        video_ms: int,
        most_video_ms: int,
    ) -> int:
        use = self._use(tenant)
        refused = use is not None and (
            (interval and use["next_create_at"] - tolerance > self.now)
            or (most_unfinished and use["unfinished"] >= most_unfinished)
            or (most_gpu_ms and use["gpu_ms"] + gpu_ms > most_gpu_ms)
            or (most_video_ms and use["video_ms"] + video_ms > most_video_ms)
        )
        if refused:
            return 0
        before = use or {"next_create_at": 0.0, "unfinished": 0, "gpu_ms": 0, "video_ms": 0}
        self.tables.tenant_counters.put(
            tenant,
            {
                "tenant": tenant,
                "next_create_at": max(before["next_create_at"], self.now) + interval,
                "unfinished": before["unfinished"] + 1,
                "day": utc_day(self.now),
                "gpu_ms": before["gpu_ms"] + gpu_ms,
                "month": utc_month(self.now),
                "video_ms": before["video_ms"] + video_ms,
            },
        )
        return 1

    def _use(self, tenant: str) -> Cells | None:
        """The counters; those of another day or month are 0."""
        row = self.tables.tenant_counters.get(tenant)
        if row is None:
            return None
        gpu_ms = row["gpu_ms"] if row["day"] == utc_day(self.now) else 0
        return {**row, "gpu_ms": gpu_ms, "video_ms": row["video_ms"] if row["month"] == utc_month(self.now) else 0}

    def quota_use(self, tenant: str) -> list[Cells]:
        use = self._use(tenant)
        if use is None:
            return []
        running = [task for task in self.tables.tasks if (task["tenant"], task["state"]) == (tenant, "RUNNING")]
        kept = {name: use[name] for name in ("next_create_at", "unfinished", "gpu_ms", "video_ms")}
        return [{"now": self.now, "running": len(running), **kept}]

    def time(self) -> list[Cells]:
        return [{"now": self.now}]

    def correct_charge(self, tenant: str, finished: int, day: int, gpu_ms: int, month: int, video_ms: int) -> int:
        row = self.tables.tenant_counters.get(tenant)
        if row is None:
            return 0
        return self.tables.tenant_counters.update(
            tenant,
            unfinished=row["unfinished"] - finished,
            gpu_ms=max(0, row["gpu_ms"] + (gpu_ms if row["day"] == day else 0)),
            video_ms=max(0, row["video_ms"] + (video_ms if row["month"] == month else 0)),
        )

    def blank_prompt(self, task_id: str, request: str) -> int:
        return self.tables.tasks.update(task_id, request=request)

    def count_usage(self, **cells: Any) -> int:  # noqa: ANN401 - columns
        key = "\x1f".join(str(cells[name]) for name in ("tenant", "day", "model", "resolution", "mode"))
        before = self.tables.usage_days.get(key) or dict.fromkeys(_SUMS, 0)
        self.tables.usage_days.put(key, {**cells, **{name: before[name] + cells[name] for name in _SUMS}})
        return 1

    def usage(self, tenant: str | None, first_day: int, last_day: int) -> list[Cells]:
        found = [
            row
            for row in self.tables.usage_days
            if first_day <= row["day"] <= last_day and tenant in (None, row["tenant"])
        ]
        return sorted(found, key=lambda row: [row[n] for n in ("day", "tenant", "model", "resolution", "mode")])

    def insert_audit(self, **cells: Any) -> int:  # noqa: ANN401 - columns
        audit_id = self.tables.next_number("audit_id")
        self.tables.audit.insert(audit_id, audit_id=audit_id, at=self.now, **cells)
        return 1

    def audit(self, tenant: str | None, start: float, after: int, limit: int) -> list[Cells]:
        found = (row for row in self.tables.audit if row["audit_id"] > after and row["at"] >= start)
        return [row for row in found if tenant in (None, row["tenant"])][:limit]

    def open_audit(self, keep_after: float) -> int:  # noqa: ARG002 - nobody writes here but these statements
        return 1

    def drop_audit(self, keep_after: float) -> int:
        old = [row["audit_id"] for row in self.tables.audit if row["at"] < keep_after]
        return sum(self.tables.audit.delete(audit_id) for audit_id in old)

    def lock_before_many(self) -> list[Cells]:
        return []

    def lock_tenants(self, tenants: list[str]) -> list[Cells]:  # noqa: ARG002 - one transaction at a time
        return []

    def has_tasks(self, tenant: str) -> list[Cells]:
        return [task for task in self.tables.tasks if task["tenant"] == tenant][:1]

    def tasks_to_forget(self, tenant: str, limit: int) -> list[Cells]:
        return sorted((task for task in self.tables.tasks if task["tenant"] == tenant), key=self._age)[:limit]

    @staticmethod
    def _age(task: Cells) -> tuple[float, int]:
        return task["submitted_at"], task["number"]

    def drop_tasks(self, task_ids: list[str]) -> int:
        return sum(self.tables.tasks.delete(task_id) for task_id in task_ids)
