"""Rows of the SQLite store -> the records of hhray.tasks."""

from __future__ import annotations

import json
import sqlite3

from hhray.request import ClipRequest
from hhray.tasks import EngineRecord, QueuedTask, Task, TaskState

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
)


def task_of(row: sqlite3.Row) -> Task:
    """A row of the view task_rows."""
    state = TaskState(row["state"])
    done = 1.0 if state is TaskState.SUCCEEDED else 0.0
    return Task(
        state=state,
        request=ClipRequest.model_validate_json(row["request"]),
        ready=bool(row["ready"]),
        stages=json.loads(row["stages"]),
        progress=done if row["progress"] is None else row["progress"],
        stage=row["stage"] or "",
        cancel_requested=bool(row["cancel_requested"]),
        **{name: row[name] for name in _PLAIN},
    )


def queued_of(row: sqlite3.Row) -> QueuedTask:
    """A row of the statement `queued`."""
    return QueuedTask(**dict(row))


def engine_of(row: sqlite3.Row) -> EngineRecord:
    """A row of the table engines."""
    return EngineRecord(**{**dict(row), "detail": json.loads(row["detail"])})
