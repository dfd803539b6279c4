"""OpenAI dialect, outwards: the JSON objects of every answer, from task rows. Pure functions.

Beyond that API's fields (additive, clients ignore them): `task_status`, `step`, `steps`, `stage`, `queue_position`,
`eta_seconds`, `eta_error_seconds`, `seed`, `notice`, and `url`, where the finished clip can be had without a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployment.dialects.dashscope_models import MODELS
from deployment.dialects.openai_errors import in_our_words, wire_code
from hhray.tasks import Task, TaskState

Json = dict[str, Any]

STATUSES = {
    TaskState.PENDING: "queued",
    TaskState.RUNNING: "in_progress",
    TaskState.SUCCEEDED: "completed",
    TaskState.FAILED: "failed",
    TaskState.CANCELED: "failed",  # this API has no word for it; the error's code says it
    TaskState.UNKNOWN: "failed",
}
LEAST_POLL_MS, MOST_POLL_MS, BLIND_POLL_MS = 250, 15_000, 2_000
POLLS_LEFT = 8  # how often a client looks until the clip is there, if the estimate is right


def render_video(task: Task, standing: Mapping[str, Any] | None = None, url: str = "") -> Json:
    """The video object. `standing` are the additive fields that are known, `url` where the finished clip is.

    The size of a clip that takes its shape from a picture or a video is that of 16:9 until it has been fetched.
    """
    request = task.request
    video: Json = {
        "id": task.task_id,
        "object": "video",
        "status": STATUSES[task.state],
        "progress": _percent(task),
        "created_at": int(task.submitted_at),
        "completed_at": None if task.ended_at is None else int(task.ended_at),
        "expires_at": int(task.expires_at),
        "model": request.model,
        "prompt": request.prompt,
        "seconds": f"{request.output_seconds:g}",
        "size": str(request.geometry.output),
        "remixed_from_video_id": request.remix_of or None,
        "error": _error(task),
        "task_status": task.state.value,
        "seed": request.seed,
    }
    video |= {"notice": task.notice} if task.notice else {}
    video |= {"url": url} if url else {}
    return video | dict(standing or {})


def render_gone(task_id: str) -> Json:
    """What the last event of a stream shows of a video that was deleted or expired meanwhile."""
    return {
        "id": task_id,
        "object": "video",
        "status": STATUSES[TaskState.UNKNOWN],
        "task_status": TaskState.UNKNOWN.value,
        "error": {"code": "not_found", "message": "The video was deleted, or its time to live is over."},
    }


def render_page(tasks: Sequence[Task], *, has_more: bool) -> Json:
    """Answer to a list call."""
    return {
        "object": "list",
        "data": [render_video(task) for task in tasks],
        "first_id": tasks[0].task_id if tasks else None,
        "last_id": tasks[-1].task_id if tasks else None,
        "has_more": has_more,
    }


def render_deleted(task_id: str) -> Json:
    """Answer to a delete."""
    return {"id": task_id, "object": "video.deleted", "deleted": True}


def render_models() -> Json:
    """Answer to GET /v1/models."""
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "hhray"} for name in MODELS]
    return {"object": "list", "data": rows}


def poll_after_ms(state: TaskState, eta_seconds: float | None) -> int | None:
    """Milliseconds after which a client had better look again; None when there is nothing to wait for."""
    if state.is_terminal:
        return None
    if eta_seconds is None:
        return BLIND_POLL_MS
    return round(min(max(1000 * eta_seconds / POLLS_LEFT, LEAST_POLL_MS), MOST_POLL_MS))


def _percent(task: Task) -> int:
    """Whole percent of the denoising steps; 100 only once the clip is there."""
    return 100 if task.state is TaskState.SUCCEEDED else min(int(100 * task.progress), 99)


def _error(task: Task) -> Json | None:
    if task.state is TaskState.CANCELED:
        return {"code": "cancelled", "message": "The task was cancelled before its clip was there."}
    if task.state is TaskState.FAILED:
        return {"code": wire_code(task.error_code), "message": in_our_words(task.error_message)}
    return None
