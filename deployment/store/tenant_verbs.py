"""The store's verbs about tenants: quotas, usage, the audit log, and the removal of all that is a tenant's."""

from __future__ import annotations

from deployment.store.accounting import lock_for_many, note_forget, use_of
from deployment.store.statements import Database, Row, one
from deployment.store.transitions import Ending, end_task, find_tasks
from hhray.quotas import QuotaUse
from hhray.records import AuditRow, UsageRow, day_name
from hhray.tasks import TaskState

_MOST_AT_ONCE = 200  # tasks one call of `forget` removes: a longer transaction would hold up the others
_AUDIT = tuple(AuditRow.__dataclass_fields__)


class TenantVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def quota_use(self, tenant: str) -> QuotaUse:
        """What a tenant has used of its quotas."""
        with self._database.read() as transaction:
            return use_of(transaction, tenant)

    def usage(self, tenant: str | None, first_day: int, last_day: int) -> list[UsageRow]:
        """Sums of the days from first to last (days since the epoch), of one tenant or of all."""
        with self._database.read() as transaction:
            rows = transaction.all("usage", tenant=tenant, first_day=first_day, last_day=last_day)
        return [_usage(row) for row in rows]

    def audit(self, tenant: str | None, start: float, after: int, limit: int) -> list[AuditRow]:
        """Up to `limit` rows since `start` with a larger id than `after`, of one tenant or of all, by id."""
        with self._database.read() as transaction:
            rows = transaction.all("audit", tenant=tenant, start=float(start), after=after, limit=limit)
        return [AuditRow(**{name: row[name] for name in _AUDIT}) for row in rows]

    def drop_audit(self, older_than_seconds: float) -> int:
        """Remove audit rows of that age; how many. The one way there is: the database refuses every other."""
        with self._database.write() as transaction:
            before = float(transaction.all("time")[0]["now"]) - older_than_seconds
            transaction.run("open_audit", keep_after=before)
            count = transaction.run("drop_audit", keep_after=before)
            transaction.run("open_audit", keep_after=0.0)
            return count

    def forget(self, tenant: str, key_id: str = "") -> tuple[list[str], bool]:
        """Cancel and remove up to 200 tasks of a tenant; their ids, and whether others are left."""
        with self._database.write() as transaction:
            found = [row["task_id"] for row in transaction.all("tasks_to_forget", tenant=tenant, limit=_MOST_AT_ONCE)]
            tasks = find_tasks(transaction, found)
            lock_for_many(transaction, tasks)
            for task in tasks:
                if not task.state.is_terminal:
                    end_task(transaction, task, Ending(TaskState.CANCELED, key_id=key_id))
                note_forget(transaction, task, key_id)
            if found:
                transaction.run("drop_tasks", task_ids=found)
            return found, one(transaction, "has_tasks", tenant=tenant) is not None


def _usage(row: Row) -> UsageRow:
    return UsageRow(
        row["tenant"],
        day_name(row["day"]),
        row["model"],
        row["resolution"],
        row["mode"],
        row["clips"],
        row["failures"],
        row["cancels"],
        row["video_ms"] / 1000,
        row["gpu_ms"] / 1000,
    )
