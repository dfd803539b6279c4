"""The store's verbs for clients: create, look up, list, cancel, and how long the queue is."""

from __future__ import annotations

from deployment.store.accounting import admit, note_cancel, note_create
from deployment.store.base import TaskFilter
from deployment.store.create_key_verbs import repeated_task
from deployment.store.rows import task_of
from deployment.store.statements import Database, Transaction, one
from deployment.store.transitions import Ending, end_task, find_task, find_tasks, locked_task, next_sequence
from hhray.tasks import NewTask, QueueDepth, Task, TaskState

_LARGEST_OFFSET = 2**63 - 1


class ClientVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewTask) -> Task:
        """Insert a PENDING task, or return the one that this create repeats (see CreateKeyVerbs)."""
        with self._database.write() as transaction:
            return repeated_task(transaction, new) or _insert(transaction, new)

    def create_failed(self, new: NewTask, code: str, message: str) -> Task:
        """Insert a task that ends FAILED in the same transaction: nobody can claim or cancel it."""
        with self._database.write() as transaction:
            return end_task(transaction, _insert(transaction, new), Ending(TaskState.FAILED, code, message))

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
            "state": query.state and query.state.value,
            "start": query.start,
            "end": query.end,
        }
        offset = min((query.page - 1) * query.page_size, _LARGEST_OFFSET)
        with self._database.read() as transaction:
            rows = transaction.all("list_tasks", **where, limit=query.page_size, offset=offset)
            total = int(transaction.all("count_tasks", **where)[0]["total"])
        return [task_of(row) for row in rows], total

    def cancel_pending(self, task_id: str, tenant: str | None, key_id: str = "") -> bool:
        """PENDING -> CANCELED; False when it was not PENDING, gone or another tenant's."""
        with self._database.write() as transaction:
            task = locked_task(transaction, task_id, tenant)
            if task is None or task.state is not TaskState.PENDING:
                return False
            end_task(transaction, task, Ending(TaskState.CANCELED, key_id=key_id))
            return True

    def request_cancel(self, task_id: str, tenant: str | None, key_id: str = "") -> bool:
        """Cancel a PENDING task at once; mark a RUNNING one, whose only end is then CANCELED."""
        with self._database.write() as transaction:
            task = locked_task(transaction, task_id, tenant)
            if task is None or task.state.is_terminal:
                return False
            if task.state is TaskState.PENDING:
                end_task(transaction, task, Ending(TaskState.CANCELED, key_id=key_id))
            else:
                transaction.run("request_cancel", task_id=task_id)
                note_cancel(transaction, task, key_id)
            return True

    def queue_position(self, task_id: str) -> int | None:
        """Claimable tasks submitted before this PENDING one (0 = next); None when it is not PENDING."""
        with self._database.read() as transaction:
            row = one(transaction, "queue_position", task_id=task_id)
        return None if row is None else int(row["position"])

    def depth(self) -> QueueDepth:
        """Counts and GPU-seconds of waiting (PENDING, ready or not) and running tasks."""
        with self._database.read() as transaction:
            rows = {row["state"]: (row["tasks"], row["gpu_seconds"]) for row in transaction.all("depth")}
        return QueueDepth(*rows.get(TaskState.PENDING, (0, 0.0)), *rows.get(TaskState.RUNNING, (0, 0.0)))


def _insert(transaction: Transaction, new: NewTask) -> Task:
    sequence = next_sequence(transaction) if new.ready else None  # before the tenant's counters: see accounting
    admit(transaction, new)
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
        gpu_seconds=float(new.gpu_seconds),
        ready=int(new.ready),
        sequence=sequence,
        ttl_seconds=float(new.ttl_seconds),
        deadline_seconds=float(new.deadline_seconds),
        priority=new.priority.value,
        reserved=int(new.reserved),
        deterministic=int(new.request.deterministic),
        fingerprint=new.fingerprint,
        webhook=new.webhook,
        keep_prompt=int(new.keep_prompt),
    )
    note_create(transaction, new)
    return find_tasks(transaction, [new.task_id])[0]
