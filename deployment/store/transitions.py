"""Moves of the task state machine (hhray.tasks) inside an open transaction.

Every way to a terminal state goes through `end_task`, which is why each ended task has exactly one metric event. Once
a cancel is acknowledged the only end is CANCELED: a result that arrives later is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from deployment.store.accounting import account_for_end, blank_prompt
from deployment.store.base import Claim
from deployment.store.rollup import event_of, with_queue_wait
from deployment.store.rows import task_of
from deployment.store.statements import Transaction, one
from deployment.store.webhook_verbs import insert_webhook
from hhray.errors import HhrayError
from hhray.tasks import Artifact, Task, TaskState

NO_ARTIFACT = Artifact(key="", sha256="", num_bytes=0)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ends; `stages` are the seconds of its last attempt, by stage; `facts` are those of its result.

    `key_id` names the key that asked for it, empty where nobody did.
    """

    state: TaskState
    code: str = ""
    message: str = ""
    artifact: Artifact = NO_ARTIFACT
    stages: dict[str, float] = field(default_factory=dict)
    notice: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    key_id: str = ""


def find_task(transaction: Transaction, task_id: str, tenant: str | None = None) -> Task | None:
    """The task, None when it is gone or (tenant given) another tenant's."""
    row = one(transaction, "task", task_id=task_id, tenant=tenant)
    return None if row is None else task_of(row)


def find_tasks(transaction: Transaction, task_ids: Sequence[str]) -> list[Task]:
    """Those of the tasks that exist, in the order given."""
    tasks = {row["task_id"]: task_of(row) for row in transaction.all("tasks_by_id", task_ids=task_ids)}
    return [tasks[task_id] for task_id in task_ids if task_id in tasks]


def locked_task(transaction: Transaction, task_id: str, tenant: str | None = None) -> Task | None:
    """As `find_task`, for a verb that is about to change the task."""
    transaction.lock(task_id)
    return find_task(transaction, task_id, tenant)


def held_task(transaction: Transaction, task_id: str, owner: str, fence: int) -> Task | None:
    """The RUNNING task, locked, when that claim is its lease."""
    transaction.lock(task_id)
    row = one(transaction, "held_task", task_id=task_id, owner=owner, fence=fence)
    return None if row is None else task_of(row)


def next_sequence(transaction: Transaction) -> int:
    """A number larger than all given out before."""
    return int(transaction.all("next_sequence")[0]["last"])


def claim_tasks(transaction: Transaction, task_ids: Sequence[str], owner: str, lease_seconds: float) -> list[Claim]:
    """PENDING and ready -> RUNNING with a lease, for those that are claimable, in the order given."""
    claimed = {row["task_id"] for row in transaction.all("claim_tasks", task_ids=task_ids)}
    given = [task_id for task_id in dict.fromkeys(task_ids) if task_id in claimed]
    if not given:
        return []
    transaction.run("insert_leases", task_ids=given, owner=owner, lease_seconds=float(lease_seconds))
    return [Claim(task, owner) for task in find_tasks(transaction, given)]


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
        facts=json.dumps(dict(ending.facts)),
    )
    transaction.run("drop_lease", task_id=task.task_id)
    transaction.run("drop_media_claim", task_id=task.task_id)
    blank_prompt(transaction, task)
    ended = find_tasks(transaction, [task.task_id])[0]
    event = event_of(ended)
    transaction.run("insert_event", task_id=task.task_id, **{**asdict(event), "stages": json.dumps(event.stages)})
    insert_webhook(transaction, ended)
    account_for_end(transaction, ended, ending.key_id)  # last: it locks the tenant's counters until the commit
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
