"""A client of an hhray server, in the DashScope dialect of the wire contract.

A create is sent with an Idempotency-Key, so that it can be sent again after a dropped connection without making a
second task. Waiting outlasts a restart of the server.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from hhray.client_http import Wire, is_passing, pause_seconds
from hhray.client_media import request_media
from hhray.client_view import TaskPage, TaskView, parse_page, parse_task
from hhray.errors import ClientError, RequestRefused, ServerUnreachable, TaskFailed, WaitTimeout
from hhray.tasks import TaskState

CREATE_PATH = "/api/v1/services/aigc/video-generation/video-synthesis"
TASKS_PATH = "/api/v1/tasks"
SUBMIT_ATTEMPTS = 4

_THROTTLED = 429


class Client:
    """One server and one key. Close it, or use it as a context manager; not to be shared between threads.

    Every method raises ServerUnreachable when nobody answers, RequestRefused when the server says no, and ClientError
    when the answer makes no sense.
    """

    def __init__(self, base_url: str, api_key: str = "", timeout_seconds: float = 30.0) -> None:
        """`timeout_seconds` is for one exchange (connect, send, or the next piece of an answer), not for a wait.

        Raises:
            ConfigError: `base_url` is no http(s) address, or the key cannot be sent in a header.
        """
        self._wire = Wire(base_url, api_key, timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def submit(
        self,
        model: str,
        prompt: str,
        *,
        image: Path | str | None = None,
        references: Sequence[Path | str] = (),
        video: str = "",
        resolution: str | None = None,
        ratio: str | None = None,
        duration: int | None = None,
        seed: int | None = None,
        language: str | None = None,
        dialogue: str | None = None,
        audio_setting: str | None = None,
        strict: bool = False,
        deadline_seconds: int | None = None,
    ) -> str:
        """Create a task and return its id. What is None is left to the server's defaults; `duration` is in seconds.

        `image` (first frame) and `references` are files or URLs, `video` is a URL. `strict` has the server refuse a
        mode that its checkpoint was not trained for. `deadline_seconds` from now is when the clip is wanted: it decides
        the order among the tenant's own clips.

        Raises:
            MediaError, InvalidURL, InvalidParameter: the media cannot be used (checked before anything is sent).
        """
        given: dict[str, Any] = {"prompt": prompt} if prompt else {}
        if media := request_media(image, references, video):
            given["media"] = media
        if dialogue is not None:
            given["dialogue"] = dialogue
        chosen = {
            "resolution": resolution,
            "ratio": ratio,
            "duration": duration,
            "seed": seed,
            "language": language,
            "audio_setting": audio_setting,
            "strict_capabilities": strict or None,
            "deadline_seconds": deadline_seconds,
        }
        parameters = {name: value for name, value in chosen.items() if value is not None}
        return self._create({"model": model, "input": given, "parameters": parameters})

    def _create(self, body: dict[str, Any]) -> str:
        headers = {"x-dashscope-async": "enable", "idempotency-key": str(uuid.uuid4())}
        attempt = 1
        while True:
            try:
                return parse_task(self._wire.call("POST", CREATE_PATH, json=body, headers=headers)).task_id
            except (ServerUnreachable, RequestRefused) as error:
                throttled = isinstance(error, RequestRefused) and error.http_status == _THROTTLED
                if throttled or not is_passing(error) or attempt == SUBMIT_ATTEMPTS:
                    raise
                time.sleep(pause_seconds(error, attempt))
                attempt += 1

    def get(self, task_id: str) -> TaskView:
        """The task now; state UNKNOWN when the server has no such task, or not for this key."""
        return parse_task(self._wire.call("GET", _task_path(task_id)))

    def wait(
        self,
        task_id: str,
        on_change: Callable[[TaskView], None] | None = None,
        timeout_seconds: float = 3600.0,
        poll_seconds: float = 0.5,
        on_trouble: Callable[[ClientError], None] | None = None,
    ) -> TaskView:
        """Poll until the task SUCCEEDED; `on_change` gets every view that differs from the one before.

        Lost connections, 429 and 5xx are ridden out (`on_trouble` hears of them) with growing pauses, or the server's
        Retry-After.

        Raises:
            TaskFailed: it ended FAILED or CANCELED, or is UNKNOWN.
            WaitTimeout: it had not ended after `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        seen: TaskView | None = None
        failures = 0
        while True:
            try:
                view = self.get(task_id)
            except (ServerUnreachable, RequestRefused) as error:
                if not is_passing(error):
                    raise
                failures += 1
                pause, last = pause_seconds(error, failures), error.message
                if on_trouble is not None:
                    on_trouble(error)
            else:
                failures, pause, last = 0, poll_seconds, f"it is {view.state}"
                if view != seen and on_change is not None:
                    on_change(view)
                seen = view
                if view.is_over:
                    return _succeeded(view)
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(
                    f"task {task_id} has not ended within {timeout_seconds:g} s ({last}); wait for it again"
                )
            time.sleep(min(pause, left))

    def cancel(self, task_id: str, running: bool = False) -> None:
        """Cancel a PENDING task; with `running` (an administrator's key) also one that runs, between its steps."""
        self._wire.call("POST", f"{_task_path(task_id)}/cancel", params={"running": "true"} if running else {})

    def list(self, status: str = "", model: str = "", page: int = 1, page_size: int = 10) -> TaskPage:
        """One page of this key's tasks of the last day, newest first; empty filters select all."""
        params: dict[str, str | int] = {"page_no": page, "page_size": page_size}
        params |= {name: value for name, value in (("status", status), ("model_name", model)) if value}
        return parse_page(self._wire.call("GET", TASKS_PATH, params=params))

    def download(self, view: TaskView, path: Path) -> Path:
        """Stream the clip into `path`: first into a file beside it, renamed when complete. Returns `path`.

        Raises:
            TaskFailed: the task has no clip.
            ClientError: the file cannot be written, or the address redirects to another host.
        """
        address = _succeeded(view).video_url
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            with part.open("xb") as file:
                self._wire.stream(address, file.write)
            part.replace(path)
        except OSError as error:
            raise ClientError(f"cannot write the clip to {path}: {error.strerror}; choose another place") from error
        finally:
            part.unlink(missing_ok=True)
        return path


def _task_path(task_id: str) -> str:
    return f"{TASKS_PATH}/{quote(task_id, safe='')}"


def _succeeded(view: TaskView) -> TaskView:
    if view.state is TaskState.SUCCEEDED:
        return view
    if view.state is TaskState.UNKNOWN:
        raise TaskFailed(view.task_id, view.state, "NotFound", "the server has no such task, or not for this key")
    message = view.message or ("no clip comes of it" if view.state.is_terminal else "it has no clip yet; wait for it")
    raise TaskFailed(view.task_id, view.state, view.code or view.state, message)
