"""Rows of the store -> the records of hhray.tasks."""

from __future__ import annotations

import json

from deployment.store.statements import Row
from deployment.webhooks.records import Delivery, DeliveryState
from hhray.request import ClipRequest
from hhray.tasks import EngineRecord, Priority, QueuedTask, Task, TaskState

_PRIORITIES = {priority.value: priority for priority in Priority}  # quicker than Priority() for 100,000 rows
_PLAIN = (
    "task_id",
    "tenant",
    "request_id",
    "gpu_seconds",
    "submitted_at",
    "expires_at",
    "scheduled_at",
    "started_at",
    "ended_at",
    "attempt",
    "faults",
    "error_code",
    "error_message",
    "artifact_key",
    "artifact_sha256",
    "artifact_bytes",
    "notice",
    "api_key_id",
    "deadline",
    "fingerprint",
    "webhook",
)


def task_of(row: Row) -> Task:
    """A row of the view task_rows."""
    state = TaskState(row["state"])
    done = 1.0 if state is TaskState.SUCCEEDED else 0.0
    return Task(
        state=state,
        request=ClipRequest.model_validate_json(row["request"]),
        ready=bool(row["ready"]),
        stages=json.loads(row["stages"]),
        facts=json.loads(row["facts"]),
        progress=done if row["progress"] is None else row["progress"],
        stage=row["stage"] or "",
        cancel_requested=bool(row["cancel_requested"]),
        priority=_PRIORITIES[row["priority"]],
        reserved=bool(row["reserved"]),
        keep_prompt=bool(row["keep_prompt"]),
        **{name: row[name] for name in _PLAIN},
    )


def queued_of(row: Row) -> QueuedTask:
    """A row of the statement `queued`."""
    return QueuedTask(
        row["task_id"],
        row["bucket"],
        row["submitted_at"],
        row["gpu_seconds"],
        row["tenant"],
        row["sequence"],
        row["deadline"],
        _PRIORITIES[row["priority"]],
        row["reserved"] != 0,
        row["deterministic"] != 0,
    )


def engine_of(row: Row) -> EngineRecord:
    """A row of the statement `engines`."""
    return EngineRecord(
        row["engine_id"], row["world_size"], row["preset"], row["state"], row["updated_at"], json.loads(row["detail"])
    )


def delivery_of(row: Row) -> Delivery:
    """A row of the table webhook_deliveries; one that was just claimed also says how long it has waited."""
    plain = ("delivery_id", "task_id", "tenant", "url", "body", "attempts", "tries", "created_at", "due_at", "ended_at")
    waited = row["waited_seconds"] if "waited_seconds" in row.keys() else 0.0  # noqa: SIM118 - rows are no mappings
    return Delivery(
        state=DeliveryState(row["state"]),
        last_status=row["last_status"],
        waited_seconds=waited,
        **{name: row[name] for name in plain},
    )
