"""What tenants are charged, and what is written down about it, inside the transactions of create and end.

A create is checked against the tenant's quota by the statement that takes what it takes, so that creates at the same
time, through any number of ingress replicas, never exceed it. What is charged stays charged when the task SUCCEEDED and
is given back when it FAILED or was CANCELED (hhray.quotas). Every task that has ended is counted once in the usage of
its day, and create, cancel and end each leave one row in the audit log.

Locks are taken in the order tasks, sequence, tenants; `lock_for_many` is for a transaction that ends several tasks.
"""

from __future__ import annotations

from collections.abc import Iterable

from deployment.store.statements import Row, Transaction, one
from hhray.quotas import QuotaUse, charge_of, check_fits, milliseconds, refusal, utc_day, utc_month
from hhray.request import ClipRequest
from hhray.tasks import NewTask, Task, TaskState


def admit(transaction: Transaction, new: NewTask) -> None:
    """Charge a task that is about to be inserted.

    Raises:
        Throttled: the tenant's quota has no room for it now; nothing of the transaction may stay.
        InvalidParameter: it never will have.
    """
    quota, charge = new.quota, charge_of(new.request, new.gpu_seconds)
    check_fits(quota, charge)
    admitted = transaction.run(
        "admit",
        tenant=new.tenant,
        interval=quota.interval,
        tolerance=quota.tolerance,
        most_unfinished=quota.unfinished,
        gpu_ms=charge.gpu_ms,
        most_gpu_ms=quota.gpu_ms_per_day,
        video_ms=charge.video_ms,
        most_video_ms=quota.video_ms_per_month,
    )
    if not admitted:
        raise refusal(quota, use_of(transaction, new.tenant), charge)


def use_of(transaction: Transaction, tenant: str) -> QuotaUse:
    """What a tenant has used."""
    row = one(transaction, "quota_use", tenant=tenant)
    return QuotaUse(transaction.all("time")[0]["now"]) if row is None else _use(row)


def note_create(transaction: Transaction, new: NewTask) -> None:
    """The audit row of a create."""
    _note(transaction, "create", new.tenant, new.api_key_id, new.task_id, new.request, prompt_hash=new.prompt_hash)


def note_cancel(transaction: Transaction, task: Task, key_id: str) -> None:
    """The audit row of the wish to stop a running task; its end has one of its own."""
    _note(transaction, "cancel", task.tenant, key_id, task.task_id, task.request)


def note_forget(transaction: Transaction, task: Task, key_id: str) -> None:
    """The audit row of a task that was removed at its tenant's wish."""
    _note(transaction, "forget", task.tenant, key_id, task.task_id, task.request)


def recharge(transaction: Transaction, task: Task, request: ClipRequest, gpu_seconds: float) -> None:
    """The media of a task said what it really takes."""
    before, after = charge_of(task.request, task.gpu_seconds), charge_of(request, gpu_seconds)
    gpu_ms, video_ms = before.gpu_ms - after.gpu_ms, before.video_ms - after.video_ms
    if gpu_ms or video_ms:
        _correct(transaction, task.tenant, task.submitted_at, gpu_ms, video_ms, finished=False)


def blank_prompt(transaction: Transaction, task: Task) -> None:
    """What a tenant does not want kept goes when the task ends."""
    if not task.keep_prompt:
        blank = task.request.model_copy(update={"prompt": "", "dialogue": ""})
        transaction.run("blank_prompt", task_id=task.task_id, request=blank.model_dump_json())


def account_for_end(transaction: Transaction, ended: Task, key_id: str) -> None:
    """Settle the charge of a task that has ended, count it in its day's usage, and write it down."""
    _note(
        transaction,
        ended.state.value.lower(),
        ended.tenant,
        key_id,
        ended.task_id,
        ended.request,
        weights=ended.facts.get("weights", ""),
        layout=ended.facts.get("layout", ""),
        result=ended.artifact_sha256,
        code=ended.error_code,
    )
    charge, made = charge_of(ended.request, ended.gpu_seconds), ended.state is TaskState.SUCCEEDED
    back = (0, 0) if made else (charge.gpu_ms, charge.video_ms)
    _correct(transaction, ended.tenant, ended.submitted_at, *back, finished=True)
    transaction.run(
        "count_usage",
        tenant=ended.tenant,
        day=utc_day(ended.ended_at or ended.submitted_at),
        model=ended.request.model,
        resolution=ended.request.resolution.value,
        mode=ended.request.mode.value,
        clips=int(made),
        failures=int(ended.state is TaskState.FAILED),
        cancels=int(ended.state is TaskState.CANCELED),
        video_ms=milliseconds(ended.request.output_seconds) if made else 0,
        gpu_ms=charge.gpu_ms if made else 0,
    )


def lock_for_many(transaction: Transaction, tasks: Iterable[Task]) -> None:
    """For a transaction that holds the locks of several tasks and is about to requeue or end them."""
    tenants = sorted({task.tenant for task in tasks})
    if tenants:
        transaction.all("lock_before_many")
        transaction.all("lock_tenants", tenants=tenants)


def _use(row: Row) -> QuotaUse:
    return QuotaUse(**{name: row[name] for name in row.keys()})  # noqa: SIM118 - a row is no mapping


def _correct(
    transaction: Transaction, tenant: str, charged_at: float, gpu_ms: int, video_ms: int, *, finished: bool
) -> None:
    """Give back what was charged at that time."""
    transaction.run(
        "correct_charge",
        tenant=tenant,
        finished=int(finished),
        day=utc_day(charged_at),
        gpu_ms=-gpu_ms,
        month=utc_month(charged_at),
        video_ms=-video_ms,
    )


def _note(
    transaction: Transaction, what: str, tenant: str, key_id: str, task_id: str, request: ClipRequest, **given: str
) -> None:
    rest = dict.fromkeys(("prompt_hash", "weights", "layout", "result", "code"), "") | given
    transaction.run(
        "insert_audit",
        what=what,
        tenant=tenant,
        key_id=key_id,
        task_id=task_id,
        model=request.model,
        seed=request.seed,
        **rest,
    )
