"""DashScope dialect, outwards: the JSON objects of every answer, from task rows. Pure functions.

Beyond the hosted API's fields (additive, clients ignore them): `output.progress`, `step`, `steps`, `stage`,
`queue_position`, `eta_seconds`, `eta_error_seconds`, `attempt`, `notice`, `marking` and `stages`, and `tasks` beside
`data` in a list, because one official client reads that key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from deployment.store.base import TaskFilter
from deployment.upload_policy import UploadPolicy
from hhray.request import ClipRequest, Mode
from hhray.tasks import Task, TaskState

WIRE_ZONE = timezone(timedelta(hours=8))
REGION = "local"
CANCEL_REFUSED = "Failed to cancel the task, please confirm if the task is in PENDING status."
STOP_REFUSED = "Failed to cancel the task, please confirm if the task is in PENDING or RUNNING status."

Json = dict[str, Any]


def render_error(code: str, message: str, request_id: str) -> Json:
    """Any error answer."""
    return {"code": code, "message": message, "request_id": request_id}


def render_created(task: Task, request_id: str) -> Json:
    """Answer to a create: a PENDING task, or the older one that its idempotency key names."""
    return {"request_id": request_id, "output": {"task_id": task.task_id, "task_status": task.state.value}}


def render_pending(task: Task, request_id: str) -> Json:
    """Answer to a create whose values are wrong, as the hosted API gives it: that it failed is seen at the query."""
    return {"request_id": request_id, "output": {"task_id": task.task_id, "task_status": TaskState.PENDING.value}}


def render_unknown(task_id: str, request_id: str) -> Json:
    """Answer to a query for a task that is gone or another tenant's."""
    return {"request_id": request_id, "output": {"task_id": task_id, "task_status": TaskState.UNKNOWN.value}}


def render_task(task: Task, request_id: str, *, standing: Mapping[str, Any], video_url: str) -> Json:
    """Answer to a query. `standing` are the additive fields of an unfinished task that are known; `video_url` counts
    only for one that succeeded."""
    output = _common_output(task) | dict(standing)
    answer: Json = {"request_id": request_id, "output": output}
    match task.state:
        case TaskState.PENDING:
            output["progress"] = 0.0
        case TaskState.RUNNING:
            output["progress"] = round(task.progress, 4)
        case TaskState.SUCCEEDED:
            output |= {"orig_prompt": task.request.prompt, "video_url": video_url, "progress": 1.0}
            answer["usage"] = _usage(task.request)
        case TaskState.FAILED:
            output |= {"code": task.error_code, "message": task.error_message}
    return answer


def render_list(tasks: Sequence[Task], total: int, query: TaskFilter, request_id: str) -> Json:
    """Answer to a list call."""
    return {
        "request_id": request_id,
        "total": total,
        "total_page": math.ceil(total / query.page_size),
        "page_no": query.page,
        "page_size": query.page_size,
        "data": [_row(task) for task in tasks],
        "tasks": [_v2_row(task) for task in tasks],
    }


def render_policy(
    policy: UploadPolicy, signed: tuple[str, str], host: str, ttl: int, room: int, request_id: str
) -> Json:
    """Answer to getPolicy. `signed` are the policy's text and its signature, `ttl` its life in seconds, `room` the
    bytes the tenant may keep; `host` is where the file goes."""
    data = {
        "policy": signed[0],
        "signature": signed[1],
        "upload_dir": policy.folder,
        "upload_host": host,
        "expire_in_seconds": ttl,
        "max_file_size_mb": policy.max_bytes // 1_000_000,
        "capacity_limit_mb": room // 1_000_000,
        "oss_access_key_id": "hhray",
        "x_oss_object_acl": "private",
        "x_oss_forbid_overwrite": "true",
    }
    return {"request_id": request_id, "data": data}


def wire_time(seconds: float) -> str:
    """Seconds since the epoch as `YYYY-MM-DD HH:MM:SS.mmm`, UTC+8, rounded to the millisecond."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=round(seconds * 1000))
    return moment.astimezone(WIRE_ZONE).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _common_output(task: Task) -> Json:
    """What an answer says of a task in any state, as far as it is known."""
    known = {
        "submit_time": wire_time(task.submitted_at),
        "scheduled_time": None if task.scheduled_at is None else wire_time(task.scheduled_at),
        "end_time": None if task.ended_at is None else wire_time(task.ended_at),
        "attempt": task.attempt or None,
        "stages": task.stages if task.state.is_terminal and task.stages else None,
        "notice": task.notice or None,
        "marking": task.facts.get("marking"),
    }
    output: Json = {"task_id": task.task_id, "task_status": task.state.value}
    return output | {key: value for key, value in known.items() if value is not None}


def _usage(request: ClipRequest) -> Json:
    """Seconds that count: of the clip, and of the video it was made from (as much of it as was used)."""
    usage: Json = {
        "duration": request.duration,
        "input_video_duration": 0,
        "output_video_duration": request.duration,
        "video_count": 1,
        "SR": int(request.resolution.value.removesuffix("P")),
    }
    if request.mode is Mode.VIDEO_EDIT:
        seconds = round(request.output_seconds, 2)
        usage |= {
            "duration": round(2 * seconds, 2),
            "input_video_duration": seconds,
            "output_video_duration": seconds,
        }
    if request.mode in (Mode.T2V, Mode.R2V):
        usage["ratio"] = request.ratio.value
    return usage


def _row(task: Task) -> Json:
    row: Json = {
        "api_key_id": task.api_key_id,
        "caller_parent_id": task.tenant,
        "caller_uid": task.tenant,
        "gmt_create": _milliseconds(task.submitted_at),
        "model_name": task.request.model,
        "region": REGION,
        "request_id": task.request_id,
        "status": task.state.value,
        "task_id": task.task_id,
        "user_api_unique_key": f"apikey:v1:aigc:video-generation:video-synthesis:{task.request.model}",
    }
    if task.request.workspace:
        row["workspace_id"] = task.request.workspace
    if task.scheduled_at is not None:
        row["start_time"] = _milliseconds(task.scheduled_at)
    if task.ended_at is not None:
        row["end_time"] = _milliseconds(task.ended_at)
    return row


def _v2_row(task: Task) -> Json:
    """What the v2 client reads under `tasks`: it wants times as text where the documented rows have numbers."""
    known = _common_output(task)
    names = ("task_id", "submit_time", "scheduled_time", "end_time")
    row = {name: known[name] for name in names if name in known}
    return row | {"status": task.state.value, "model_name": task.request.model}


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
