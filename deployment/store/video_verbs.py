"""The store's verbs that the OpenAI dialect and the progress streams add: delete, pages by cursor, many at once."""

from __future__ import annotations

from collections.abc import Sequence

from deployment.store.accounting import note_cancel, note_forget
from deployment.store.api_verbs import WaitingTask
from deployment.store.rows import task_of
from deployment.store.statements import Database
from deployment.store.transitions import Ending, end_task, locked_task
from hhray.tasks import Priority, Task, TaskState

_PRIORITIES = {priority.value: priority for priority in Priority}  # quicker than Priority() for 10,000 rows


class VideoVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delete(self, task_id: str, tenant: str, key_id: str = "") -> TaskState | None:
        """Take a task away from its client for good; the state it was in, None when there is none of this tenant's."""
        with self._database.write() as transaction:
            task = locked_task(transaction, task_id, tenant)
            if task is None:
                return None
            transaction.run("free_create_key", task_id=task_id)
            if task.state is TaskState.RUNNING:
                transaction.run("hide_running", task_id=task_id)
                note_cancel(transaction, task, key_id)
                return task.state
            if task.state is TaskState.PENDING:
                end_task(transaction, task, Ending(TaskState.CANCELED, key_id=key_id))
            transaction.run("delete_task", task_id=task_id)
            note_forget(transaction, task, key_id)
            return task.state

    def page(self, tenant: str, after: str | None, limit: int, *, newest_first: bool) -> list[Task]:
        """Up to `limit` of a tenant's tasks by time of submit, those behind the task `after`; none when it is gone."""
        with self._database.read() as transaction:
            if newest_first:
                rows = transaction.all("page_newest", tenant=tenant, after=after, limit=limit)
            else:
                rows = transaction.all("page_oldest", tenant=tenant, after=after, limit=limit)
            return [task_of(row) for row in rows]

    def find(self, task_ids: Sequence[str]) -> list[Task]:
        """Those of the tasks that exist, in the order given, whoever's they are; deleted ones are left out."""
        if not task_ids:
            return []
        with self._database.read() as transaction:
            rows = transaction.all("tasks_by_id", task_ids=list(task_ids))
            found = {row["task_id"]: task_of(row) for row in rows if not row["deleted"]}
        return [found[task_id] for task_id in task_ids if task_id in found]

    def waiting(self) -> tuple[list[WaitingTask], float]:
        """All claimable tasks, oldest first, and the GPU-seconds left of the running ones."""
        with self._database.read() as transaction:
            rows = transaction.all("waiting_order")
            left = float(transaction.all("running_left")[0]["gpu_seconds"])
        found = [
            WaitingTask(row["task_id"], row["tenant"], _PRIORITIES[row["priority"]], row["gpu_seconds"]) for row in rows
        ]
        return found, left
