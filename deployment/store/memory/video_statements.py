"""The statements of video_verbs.py over tables in memory; queries.sql says what they do."""

from __future__ import annotations

from deployment.store.memory.tables import Cells, age_of
from deployment.store.memory.work_statements import WorkStatements


class VideoStatements(WorkStatements):
    """All statements; `now` is when the transaction began."""

    def delete_task(self, task_id: str) -> int:
        return self.tables.tasks.delete(task_id)

    def free_create_key(self, task_id: str) -> int:
        task = self.tables.tasks.get(task_id)
        key = (task["tenant"], task["idempotency_key"]) if task else ("", "")
        row = self.tables.create_keys.get(key)
        return self.tables.create_keys.delete(key) if row is not None and row["task_id"] == task_id else 0

    def hide_running(self, task_id: str) -> int:
        hidden: Cells = {"deleted": 1, "cancel_requested": 1, "idempotency_key": None, "expires_at": self.now}
        return self.tables.tasks.update(task_id, **hidden)

    def page_newest(self, tenant: str, after: str | None, limit: int) -> list[Cells]:
        return self._page(tenant, after, newest_first=True)[:limit]

    def page_oldest(self, tenant: str, after: str | None, limit: int) -> list[Cells]:
        return self._page(tenant, after, newest_first=False)[:limit]

    def _page(self, tenant: str, after: str | None, *, newest_first: bool) -> list[Cells]:
        mine = [task for task in self.tables.tasks if task["tenant"] == tenant and not task["deleted"]]
        mine.sort(key=age_of, reverse=newest_first)
        if after is not None:
            seen = self.tables.tasks.get(after)
            if seen is None or seen["tenant"] != tenant:
                return []
            age = age_of(seen)
            mine = [task for task in mine if (age_of(task) < age if newest_first else age_of(task) > age)]
        return [self.joined(task) for task in mine]

    def waiting_order(self) -> list[Cells]:
        return sorted(self.tables.tasks.claimable.values(), key=age_of)

    def running_left(self) -> list[Cells]:
        left = 0.0
        for lease in self.tables.leases:
            task = self.tables.tasks.get(lease["task_id"])
            if task is not None:
                left += task["gpu_seconds"] * (1.0 - lease["progress"])
        return [{"gpu_seconds": left}]
