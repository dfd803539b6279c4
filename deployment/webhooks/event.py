"""The event that a task's end is: CloudEvents 1.0 JSON with the fields of the hosted service. Pure functions.

Source: CloudEvents 1.0.2; Alibaba Cloud Model Studio, "Configure notifications for asynchronous tasks" (source
`acs.dashscope`, type `dashscope:System:AsyncTaskFinish`). Receivers query the task for its result, so that the event
carries neither prompt nor URL.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import urlsplit

from hhray.tasks import Task, TaskState

SOURCE = "acs.dashscope"
TYPE = "dashscope:System:AsyncTaskFinish"
REGION = "local"
_WIRE_ZONE = timezone(timedelta(hours=8))  # what the protocol's times without an offset mean


def event_id(task_id: str) -> str:
    """The id of a task's only event: the same in every attempt, from whichever process."""
    return f"evt_{task_id}"


def event_body(task: Task) -> str:
    """The body to send for a task that has ended, as JSON text; the same bytes in every attempt.

    `contain_result` is whether a query of the task gives a video. `start_time` of a task that never ran is that of its
    submit.
    """
    ended = task.submitted_at if task.ended_at is None else task.ended_at
    started = task.submitted_at if task.scheduled_at is None else task.scheduled_at
    event = {
        "specversion": "1.0",
        "id": event_id(task.task_id),
        "source": SOURCE,
        "type": TYPE,
        "subject": task.task_id,
        "time": datetime.fromtimestamp(ended, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "aliyunaccountid": task.tenant,
        "aliyunregionid": REGION,
        "data": {
            "task_id": task.task_id,
            "task_status": task.state.value,
            "start_time": _wire_time(started),
            "end_time": _wire_time(ended),
            "request_id": task.request_id,
            "api_key_id": task.api_key_id,
            "region": REGION,
            "user_api_unique_key": f"apikey:v1:aigc:video-generation:video-synthesis:{task.request.model}",
            "contain_result": task.state is TaskState.SUCCEEDED,
        },
    }
    return json.dumps(event, ensure_ascii=True, separators=(",", ":"))


def receiver_of(url: str) -> str:
    """Host and port of a receiver, in small letters: what deliveries wait in line for."""
    parts = urlsplit(url)
    return f"{parts.hostname or ''}:{parts.port or ''}"


def _wire_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, _WIRE_ZONE).strftime("%Y-%m-%d %H:%M:%S")
