"""Moves of the task state machine (hhray.tasks) inside an open transaction.

Every way to a terminal state goes through `end_task`, which is why each ended task has exactly one metric event. Once
a cancel is acknowledged the only end is CANCELED: a result that arrives later is dropped.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from deployment.store.base import Claim
from deployment.store.database import Transaction
from deployment.store.rollup import event_of, with_queue_wait
from deployment.store.rows import task_of
from hhray.errors import HhrayError
from hhray.tasks import Artifact, Task, TaskState

NO_ARTIFACT = Artifact(key="", sha256="", num_bytes=0)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ends; `stages` are the seconds of its last attempt, by stage."""

    state: TaskState
    code: str = ""
    message: str = ""
    artifact: Artifact = NO_ARTIFACT
    stages: dict[str, float] = field(default_factory=dict)
    notice: str = ""


def find_task(transaction: Transaction, task_id: str, tenant: str | None = None) -> Task | None:
    """The task, None when it is gone or (tenant given) another tenant's."""
    row = transaction.one("task", task_id=task_id, tenant=tenant)
    return None if row is None else task_of(row)


def held_task(transaction: Transaction, task_id: str, owner: str, fence: int) -> Task | None:
    """The RUNNING task when that claim is its lease."""
    row = transaction.one("held_task", task_id=task_id, owner=owner, fence=fence)
    return None if row is None else task_of(row)


def next_sequence(transaction: Transaction) -> int:
    """A number larger than all given out before."""
    (sequence,) = transaction.all("next_sequence")[0]
    return int(sequence)


def claim_task(transaction: Transaction, task_id: str, owner: str, lease_seconds: float) -> Claim | None:
    """PENDING and ready -> RUNNING with a lease; None when it is not claimable."""
    row = transaction.one("claim_task", task_id=task_id)
    if row is None:
        return None
    transaction.run("insert_lease", task_id=task_id, owner=owner, fence=row["attempt"], lease_seconds=lease_seconds)
    return Claim(task_of(transaction.all("task", task_id=task_id, tenant=None)[0]), owner)


def end_task(transaction: Transaction, task: Task, ending: Ending) -> Task:
    """PENDING or RUNNING -> a terminal state, with one event; lease and media claim go. Returns the task as ended."""
    if task.cancel_requested:
        ending = Ending(TaskState.CANCELED, stages=ending.stages)
    transaction.run(
        "end_task",
        task_id=task.task_id,
        state=ending.state.value,
        error_code=ending.code,
        error_message=ending.message,
        artifact_key=ending.artifact.key,
        artifact_sha256=ending.artifact.sha256,
        artifact_bytes=ending.artifact.num_bytes,
        notice=ending.notice,
        stages=json.dumps(with_queue_wait(task, ending.stages)),
    )
    transaction.run("drop_lease", task_id=task.task_id)
    transaction.run("drop_media_claim", task_id=task.task_id)
    ended = task_of(transaction.all("task", task_id=task.task_id, tenant=None)[0])
    event = event_of(ended)
    transaction.run("insert_event", task_id=task.task_id, **{**asdict(event), "stages": json.dumps(event.stages)})
    return ended


def give_back(transaction: Transaction, task: Task, fault: str, max_faults: int) -> TaskState:
    """RUNNING -> PENDING; CANCELED if that was asked for; FAILED at `max_faults` faults (0: no limit).

    An empty `fault` counts nothing. Returns the new state.
    """
    faults = task.faults + bool(fault)
    if fault:
        transaction.run("count_fault", task_id=task.task_id, fault=fault)
    if task.cancel_requested:
        return end_task(transaction, task, Ending(TaskState.CANCELED)).state
    if fault and 0 < max_faults <= faults:
        sentence = f"the task failed {faults} engine{'s' if faults > 1 else ''}; last fault: {fault}"
        return end_task(transaction, task, Ending(TaskState.FAILED, HhrayError.code, sentence)).state
    transaction.run("drop_lease", task_id=task.task_id)
    transaction.run("requeue", task_id=task.task_id, sequence=next_sequence(transaction))
    return TaskState.PENDING
