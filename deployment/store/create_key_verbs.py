"""Keys of creates: which create repeats an older one, and gets its task instead of one of its own.

A key has a row and a life of its own, because a task may go earlier or stay longer. A client's Idempotency-Key lives
IDEMPOTENCY_SECONDS. A repost key - the fingerprint of a create without one - counts only for some seconds after the
server saw a client go away before it was answered.
"""

from __future__ import annotations

from deployment.store.statements import Database, Transaction, one
from deployment.store.transitions import find_task
from hhray.errors import IdempotencyConflict
from hhray.tasks import NewTask, Task, TaskState

IDEMPOTENCY_SECONDS = 86400.0
_MOST_AT_ONCE = 1000


class CreateKeyVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def key_task_id(self, tenant: str, idempotency_key: str, fingerprint: str) -> str | None:
        """The task a key names; None when the key is free."""
        with self._database.read() as transaction:
            return _named(transaction, tenant, idempotency_key, fingerprint)

    def note_repost(self, tenant: str, repost_key: str, task_id: str, life_seconds: float) -> None:
        """From now on the next create of this key gets `task_id`, or ("") the task of the create on its way."""
        with self._database.write() as transaction:
            values = {"tenant": tenant, "name": repost_key, "task_id": task_id}
            transaction.run("note_repost", **values, life_seconds=float(life_seconds))

    def drop_create_keys(self) -> int:
        """Remove keys whose life is over; how many, at most 1000."""
        with self._database.write(durable=False) as transaction:
            return transaction.run("drop_create_keys", limit=_MOST_AT_ONCE)


def repeated_task(transaction: Transaction, new: NewTask) -> Task | None:
    """The older task that this create repeats; None after the keys were taken for a task of its own.

    Raises:
        IdempotencyConflict: the idempotency key was given to another call.
    """
    if new.idempotency_key is not None:
        return _by_idempotency_key(transaction, new, new.idempotency_key)
    return None if new.repost_key is None else _by_repost_key(transaction, new, new.repost_key)


def gone_task(new: NewTask, task_id: str) -> Task:
    """A task that a living key names although its row is gone: nothing is known of it but that it was."""
    return Task(
        task_id=task_id,
        tenant=new.tenant,
        state=TaskState.UNKNOWN,
        request=new.request,
        request_id=new.request_id,
        gpu_seconds=0.0,
        ready=False,
        submitted_at=0.0,
        expires_at=0.0,
    )


def _by_idempotency_key(transaction: Transaction, new: NewTask, key: str) -> Task | None:
    taken = transaction.run(
        "take_create_key",
        tenant=new.tenant,
        name=key,
        task_id=new.task_id,
        fingerprint=new.fingerprint,
        life_seconds=IDEMPOTENCY_SECONDS,
    )
    if taken:
        return None
    task_id = _named(transaction, new.tenant, key, new.fingerprint) or ""
    return find_task(transaction, task_id) or gone_task(new, task_id)


def _named(transaction: Transaction, tenant: str, key: str, fingerprint: str) -> str | None:
    row = one(transaction, "create_key", tenant=tenant, name=key)
    if row is None:
        return None
    if row["fingerprint"] not in ("", fingerprint):  # "": a store of an older version did not keep it
        raise IdempotencyConflict(
            "Idempotency-Key: expected the same request as the one this key was first sent with, but it differs. "
            "Send another key with another request; a key is free again after 24 hours."
        )
    return str(row["task_id"])


def _by_repost_key(transaction: Transaction, new: NewTask, key: str) -> Task | None:
    row = one(transaction, "open_repost", tenant=new.tenant, name=key)
    if row is not None and row["live"] and (task := find_task(transaction, row["task_id"])):
        return task
    transaction.run("name_repost", tenant=new.tenant, name=key, task_id=new.task_id)
    return None
