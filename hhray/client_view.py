"""What the client makes of the server's answers: a task, a page of tasks, or an error. Pure functions of bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from hhray.errors import ClientError, RequestRefused, ServerUnreachable
from hhray.tasks import TaskState


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as its client sees it.

    `progress` is 0..1, `queue_position` counts the tasks ahead (None unless waiting), `stage` is what is being done,
    `eta_seconds` when the server expects the end, give or take `eta_error_seconds`, `stages` maps stage name to seconds
    once the task ended. Times are the server's UTC+8 strings, empty until known. `raw` is the whole answer.
    """

    task_id: str
    state: TaskState
    progress: float = 0.0
    queue_position: int | None = None
    stage: str = ""
    step: int | None = None
    steps: int | None = None
    eta_seconds: float | None = None
    eta_error_seconds: float | None = None
    attempt: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    notice: str = ""
    video_url: str = ""
    code: str = ""
    message: str = ""
    submit_time: str = ""
    end_time: str = ""
    raw: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to wait for: it ended, or is UNKNOWN (expired, or never there)."""
        return self.state.is_terminal or self.state is TaskState.UNKNOWN


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A line of the task list; times are seconds since the epoch, None until they happened."""

    task_id: str
    state: str
    model: str
    submitted_at: float | None
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of the task list, newest first; `total` counts all matches."""

    total: int
    total_pages: int
    page: int
    rows: tuple[TaskRow, ...]


def parse_answer(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a good answer.

    Raises:
        RequestRefused: the answer is an error in the wire dialect.
        ServerUnreachable: the answer is not the dialect's; a proxy speaks while the application starts or restarts.
    """
    try:
        body = response.json()
    except ValueError:  # neither JSON nor text
        body = None
    if not isinstance(body, dict) or (response.status_code != httpx.codes.OK and "code" not in body):
        raise ServerUnreachable(
            f"{response.url.host} answered HTTP {response.status_code}, but not as an hhray server does; "
            "it may be starting: check the URL, or try again in a moment"
        )
    if response.status_code != httpx.codes.OK:
        raise RequestRefused(
            str(body["code"]), str(body.get("message", "")), response.status_code, retry_after_seconds(response)
        )
    return body


def retry_after_seconds(response: httpx.Response) -> float | None:
    """The Retry-After header in seconds; None when it is missing or a date (hhray sends seconds)."""
    try:
        return max(0.0, min(float(response.headers["retry-after"]), 3600.0))
    except (KeyError, ValueError):
        return None


def parse_task(body: dict[str, Any]) -> TaskView:
    """A create or query answer as a TaskView; additive fields may be missing, as on other servers of the dialect.

    Raises:
        ClientError: the answer has no task in it.
    """
    try:
        output = body["output"]
        texts: dict[str, Any] = {name: str(output.get(name) or "") for name in _TEXTS}
        return TaskView(
            task_id=str(output["task_id"]),
            progress=float(output.get("progress", 0.0)),
            attempt=int(output.get("attempt", 0)),
            stages={str(name): float(seconds) for name, seconds in output.get("stages", {}).items()},
            raw=body,
            **_standing(output),
            **texts,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ClientError(_strange("a task", body)) from error


def parse_event(video: Any) -> TaskView:  # noqa: ANN401 - what a server sent as JSON
    """A progress event's data, a video object of the second dialect, as a TaskView.

    Raises:
        ValueError: it has no task in it.
    """
    try:
        standing = _standing(video)
        # whole per cents are too coarse for eight steps
        done = standing["step"] / standing["steps"] if standing["steps"] else float(video["progress"]) / 100.0
        return TaskView(task_id=str(video["id"]), progress=done, raw=video, **standing)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"expected a video with its task_status, got {json.dumps(video)[:200]}") from error


_TEXTS = ("notice", "video_url", "code", "message", "submit_time", "end_time")


def _standing(fields: dict[str, Any]) -> dict[str, Any]:
    """How far a task is, by the names that both dialects share."""
    whole = {name: _optional(int, fields.get(name)) for name in ("queue_position", "step", "steps")}
    seconds = {name: _optional(float, fields.get(name)) for name in ("eta_seconds", "eta_error_seconds")}
    return {"state": TaskState(fields["task_status"]), "stage": str(fields.get("stage") or ""), **whole, **seconds}


def _optional(kind: type[int] | type[float], value: Any) -> int | float | None:  # noqa: ANN401 - as above
    return None if value is None else kind(value)


_FORM_FIELDS = {
    "OSSAccessKeyId": "oss_access_key_id",
    "Signature": "signature",
    "policy": "policy",
    "x-oss-object-acl": "x_oss_object_acl",
    "x-oss-forbid-overwrite": "x_oss_forbid_overwrite",
}


def parse_policy(body: dict[str, Any], name: str, content_type: str) -> tuple[str, dict[str, str]]:
    """Where an upload goes, and the fields of its form, for a file of this name.

    Raises:
        ClientError: the answer is no permission to upload.
    """
    try:
        data = body["data"]
        given = {field: str(data[key]) for field, key in _FORM_FIELDS.items() if key in data}
        key = {"key": f"{data['upload_dir']}/{name}"}
        return str(data["upload_host"]), {
            **given, **key, "success_action_status": "200", "x-oss-content-type": content_type
        }  # fmt: skip
    except (AttributeError, KeyError, TypeError) as error:
        raise ClientError(_strange("a permission to upload", body)) from error


def parse_page(body: dict[str, Any]) -> TaskPage:
    """A list answer.

    Raises:
        ClientError: the answer is no list of tasks.
    """
    try:
        return TaskPage(
            total=int(body["total"]),
            total_pages=int(body["total_page"]),
            page=int(body["page_no"]),
            rows=tuple(
                TaskRow(
                    str(row["task_id"]),
                    str(row["status"]),
                    str(row.get("model_name", "")),
                    _seconds(row.get("gmt_create")),
                    _seconds(row.get("end_time")),
                )
                for row in body["data"]
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ClientError(_strange("a list of tasks", body)) from error


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else float(milliseconds) / 1000.0


def _strange(expected: str, body: dict[str, Any]) -> str:
    return f"the server's answer is not {expected}: {json.dumps(body)[:200]}; is this an hhray server?"
