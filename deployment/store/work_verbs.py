"""The verbs of those who work on tasks: media intake, router and engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployment.store.accounting import lock_for_many, recharge
from deployment.store.base import Claim, LeaseView
from deployment.store.rows import queued_of, task_of
from deployment.store.statements import Database, one
from deployment.store.transitions import (
    Ending,
    claim_tasks,
    end_task,
    find_task,
    find_tasks,
    give_back,
    held_task,
    next_sequence,
)
from hhray.errors import PhaseTimeout
from hhray.request import ClipRequest
from hhray.tasks import Artifact, Demand, Progress, QueuedTask, Task, TaskState

_LEASE_OVER = "its engine stopped renewing the lease"
_TOO_OLD = "the task reached its time to live while it waited; submit it again when the queue is shorter"
_OLD_ENGINE_SECONDS = 86400.0
_MOST_AT_ONCE = 1000  # tasks one call of a janitor handles: a longer transaction would hold up the others


class MediaVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_media(self, owner: str, lease_seconds: float, task_id: str | None = None) -> Task | None:
        """Take the oldest PENDING task whose media is not ready (or this one) for `lease_seconds`."""
        with self._database.write() as transaction:
            while (row := one(transaction, "media_candidate", task_id=task_id)) is not None:
                found = row["task_id"]
                # no row changes when somebody else claimed it between the look and the lock
                if transaction.run("claim_media", task_id=found, owner=owner, lease_seconds=float(lease_seconds)):
                    return find_task(transaction, found)
            return None

    def media_ready(self, task_id: str, owner: str, request: ClipRequest, gpu_seconds: float) -> bool:
        """Store the completed request and make the task claimable; False when the media claim was lost."""
        with self._database.write() as transaction:
            transaction.lock(task_id)
            row = one(transaction, "media_task", task_id=task_id, owner=owner)
            if row is None:
                return False
            before, sequence = task_of(row), next_sequence(transaction)
            recharge(transaction, before, request, gpu_seconds)
            transaction.run(
                "media_ready",
                task_id=task_id,
                request=request.model_dump_json(),
                model=request.model,
                bucket=str(request.shape_key),
                gpu_seconds=float(gpu_seconds),
                deterministic=int(request.deterministic),
                sequence=sequence,
            )
            transaction.run("drop_media_claim", task_id=task_id)
            return True

    def media_failed(self, task_id: str, owner: str, code: str, message: str) -> bool:
        """PENDING -> FAILED; False when the media claim was lost."""
        with self._database.write() as transaction:
            transaction.lock(task_id)
            row = one(transaction, "media_task", task_id=task_id, owner=owner)
            if row is None:
                return False
            end_task(transaction, task_of(row), Ending(TaskState.FAILED, code, message))
            return True


class RouterVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queued(self, after_sequence: int = 0) -> list[QueuedTask]:
        """Claimable tasks with a larger sequence, by sequence."""
        with self._database.read() as transaction:
            return [queued_of(row) for row in transaction.all("queued", after_sequence=after_sequence)]

    def reap(self, max_faults: int) -> list[tuple[str, TaskState]]:
        """Requeue tasks whose lease ran out, counting a fault; FAILED at `max_faults`. Returns what became of each."""
        with self._database.write() as transaction:
            over = [row["task_id"] for row in transaction.all("leases_over", limit=_MOST_AT_ONCE)]
            tasks = find_tasks(transaction, over)
            lock_for_many(transaction, tasks)
            return [(task.task_id, give_back(transaction, task, _LEASE_OVER, max_faults)) for task in tasks]

    def expire(self) -> list[tuple[str, str]]:
        """Remove ended tasks past their expiry; id and tenant of each, whose files the caller deletes.

        A PENDING task past its expiry ends FAILED and goes with a later call. Engines unheard of for a day go too.
        """
        with self._database.write() as transaction:
            # sorted, because no database promises the order of RETURNING
            rows = transaction.all("drop_expired", limit=_MOST_AT_ONCE)
            removed = sorted((row["task_id"], row["tenant"]) for row in rows)
            waiting = [row["task_id"] for row in transaction.all("expired_pending", limit=_MOST_AT_ONCE)]
            tasks = find_tasks(transaction, waiting)
            lock_for_many(transaction, tasks)
            for task in tasks:
                end_task(transaction, task, Ending(TaskState.FAILED, PhaseTimeout.code, _TOO_OLD))
            transaction.run("drop_old_engines", old_seconds=_OLD_ENGINE_SECONDS)
            return removed

    def demand(self, window_seconds: float) -> Demand:
        """The work that waits, runs, and arrived within the last `window_seconds`, as one snapshot."""
        with self._database.read() as transaction:
            (row,) = transaction.all("demand", window_seconds=window_seconds)
        return Demand(**dict(row))


class EngineVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, task_ids: Sequence[str], owner: str, lease_seconds: float) -> list[Claim]:
        """PENDING and ready -> RUNNING, attempt + 1, for those of `task_ids` still so, in the order given."""
        with self._database.write() as transaction:
            return claim_tasks(transaction, task_ids, owner, lease_seconds)

    def claim_oldest(self, owner: str, lease_seconds: float, limit: int) -> list[Claim]:
        """The same for the oldest claimable task and up to `limit` in all of its bucket, oldest first."""
        with self._database.write() as transaction:
            oldest = one(transaction, "oldest_bucket")
            if oldest is None:
                return []
            rows = transaction.all("oldest_of_bucket", bucket=oldest["bucket"], limit=limit)
            return claim_tasks(transaction, [row["task_id"] for row in rows], owner, lease_seconds)

    def renew(self, owner: str, lease_seconds: float, progress: dict[str, Progress]) -> dict[str, LeaseView]:
        """Extend this owner's leases on the given tasks and record their progress, in one statement for all."""
        if not progress:
            return {}
        with self._database.write(durable=False) as transaction:
            rows = transaction.all(
                "renew",
                owner=owner,
                lease_seconds=float(lease_seconds),
                task_ids=list(progress),
                fractions=[float(report.fraction) for report in progress.values()],
                stages=[report.stage for report in progress.values()],
            )
        cancelled = {row["task_id"]: bool(row["cancel_requested"]) for row in rows}
        return {
            task_id: LeaseView(held=task_id in cancelled, cancel_requested=cancelled.get(task_id, False))
            for task_id in progress
        }

    def release(self, task_id: str, owner: str, fence: int, *, fault: str = "", max_faults: int = 0) -> bool:
        """RUNNING -> PENDING. A non-empty `fault` says what broke and counts; at `max_faults` the task is FAILED.

        `max_faults` 0 is no limit. A task to be cancelled ends CANCELED instead.
        """
        with self._database.write() as transaction:
            task = held_task(transaction, task_id, owner, fence)
            if task is None:
                return False
            give_back(transaction, task, fault, max_faults)
            return True

    def publish(
        self,
        task_id: str,
        owner: str,
        fence: int,
        artifact: Artifact,
        stages: dict[str, float],
        notice: str,
        facts: Mapping[str, str] | None = None,
    ) -> Task | None:
        """RUNNING -> SUCCEEDED with artifact and one metric event, in one transaction; None when the lease was lost.

        Also None when a cancel was acknowledged before: the task is CANCELED then and the artifact is nobody's.
        """
        ending = Ending(TaskState.SUCCEEDED, artifact=artifact, stages=stages, notice=notice, facts=facts or {})
        ended = self._end(task_id, owner, fence, ending)
        return ended if ended is not None and ended.state is TaskState.SUCCEEDED else None

    def fail(self, task_id: str, owner: str, fence: int, code: str, message: str, stages: dict[str, float]) -> bool:
        """RUNNING -> FAILED with one metric event (CANCELED when a cancel was acknowledged before)."""
        return self._end(task_id, owner, fence, Ending(TaskState.FAILED, code, message, stages=stages)) is not None

    def cancel_running(self, task_id: str, owner: str, fence: int, stages: dict[str, float]) -> bool:
        """RUNNING -> CANCELED with one metric event, once the owner has stopped."""
        return self._end(task_id, owner, fence, Ending(TaskState.CANCELED, stages=stages)) is not None

    def _end(self, task_id: str, owner: str, fence: int, ending: Ending) -> Task | None:
        with self._database.write() as transaction:
            task = held_task(transaction, task_id, owner, fence)
            return None if task is None else end_task(transaction, task, ending)
