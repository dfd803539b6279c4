"""The client verbs of the SQLite store: create, look up, list, cancel, and how long the queue is."""

from __future__ import annotations

from deployment.store.base import TaskFilter
from deployment.store.database import Database
from deployment.store.rows import task_of
from deployment.store.transitions import Ending, end_task, find_task, next_sequence
from hhray.tasks import NewTask, QueueDepth, Task, TaskState

_LARGEST_OFFSET = 2**63 - 1


class ClientVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewTask) -> Task:
        """Insert a PENDING task, or return the one of the same (tenant, idempotency key)."""
        with self._database.write() as transaction:
            if new.idempotency_key is not None:
                row = transaction.one("task_by_key", tenant=new.tenant, idempotency_key=new.idempotency_key)
                if row is not None:
                    return task_of(row)
            transaction.run(
                "insert_task",
                task_id=new.task_id,
                tenant=new.tenant,
                api_key_id=new.api_key_id,
                idempotency_key=new.idempotency_key,
                request_id=new.request_id,
                request=new.request.model_dump_json(),
                model=new.request.model,
                bucket=str(new.request.shape_key),
                gpu_seconds=new.gpu_seconds,
                ready=new.ready,
                sequence=next_sequence(transaction) if new.ready else None,
                ttl_seconds=new.ttl_seconds,
            )
            return task_of(transaction.all("task", task_id=new.task_id, tenant=new.tenant)[0])

    def get(self, task_id: str, tenant: str | None = None) -> Task | None:
        """The task; None when it is gone or (tenant given) another tenant's."""
        with self._database.read() as transaction:
            return find_task(transaction, task_id, tenant)

    def list_tasks(self, query: TaskFilter) -> tuple[list[Task], int]:
        """One page, newest first, and the number of all matches."""
        where = {
            "tenant": query.tenant,
            "task_id": query.task_id,
            "model": query.model,
            "state": query.state,
            "start": query.start,
            "end": query.end,
        }
        offset = min((query.page - 1) * query.page_size, _LARGEST_OFFSET)
        with self._database.read() as transaction:
            rows = transaction.all("list_tasks", **where, limit=query.page_size, offset=offset)
            (total,) = transaction.all("count_tasks", **where)[0]
        return [task_of(row) for row in rows], total

    def cancel_pending(self, task_id: str, tenant: str | None) -> bool:
        """PENDING -> CANCELED; False when it was not PENDING, gone or another tenant's."""
        with self._database.write() as transaction:
            task = find_task(transaction, task_id, tenant)
            if task is None or task.state is not TaskState.PENDING:
                return False
            end_task(transaction, task, Ending(TaskState.CANCELED))
            return True

    def request_cancel(self, task_id: str, tenant: str | None) -> bool:
        """Cancel a PENDING task at once; mark a RUNNING one, whose only end is then CANCELED."""
        with self._database.write() as transaction:
            task = find_task(transaction, task_id, tenant)
            if task is None or task.state.is_terminal:
                return False
            if task.state is TaskState.PENDING:
                end_task(transaction, task, Ending(TaskState.CANCELED))
            else:
                transaction.run("request_cancel", task_id=task_id)
            return True

    def queue_position(self, task_id: str) -> int | None:
        """Claimable tasks submitted before this PENDING one (0 = next); None when it is not PENDING."""
        with self._database.read() as transaction:
            row = transaction.one("queue_position", task_id=task_id)
        return None if row is None else int(row["position"])

    def depth(self) -> QueueDepth:
        """Counts and GPU-seconds of waiting (PENDING, ready or not) and running tasks."""
        with self._database.read() as transaction:
            rows = {row["state"]: (row["tasks"], row["gpu_seconds"]) for row in transaction.all("depth")}
        return QueueDepth(*rows.get(TaskState.PENDING, (0, 0.0)), *rows.get(TaskState.RUNNING, (0, 0.0)))
