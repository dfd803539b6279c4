"""The client's one logic, asynchronous. `hhray.client.Client` is the same for callers without an event loop."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack
from urllib.parse import quote

import httpx

from hhray.client_download import Download, parse_url
from hhray.client_http import Wire, is_passing, pause_seconds
from hhray.client_media import OSS_SCHEME, is_url, local_video, request_media
from hhray.client_view import TaskPage, TaskView, parse_page, parse_policy, parse_task
from hhray.client_wait import OnTrouble, Patience, Sleep, Watch
from hhray.errors import ClientError, RequestRefused, ServerUnreachable, TaskFailed
from hhray.tasks import TaskState

CREATE_PATH = "/api/v1/services/aigc/video-generation/video-synthesis"
TASKS_PATH = "/api/v1/tasks"
UPLOADS_PATH = "/api/v1/uploads"
SUBMIT_ATTEMPTS = 4

_THROTTLED = 429


class SubmitOptions(TypedDict, total=False):
    """What a submit may say beside model and prompt; what is absent is left to the server's defaults.

    `image` (first frame) and `references` are files or URLs, `video` is a file or URL. `duration` is in seconds.
    `strict` has the server refuse a mode that its checkpoint was not trained for. `deadline_seconds` from now is when
    the clip is wanted. The same `idempotency_key` and body give the same task; without one each submit has its own.
    """

    image: Path | str | None
    references: Sequence[Path | str]
    video: Path | str
    resolution: str | None
    ratio: str | None
    duration: int | None
    seed: int | None
    watermark: bool | None
    language: str | None
    dialogue: str | None
    audio_setting: str | None
    strict: bool
    deadline_seconds: int | None
    webhook_url: str | None
    idempotency_key: str | None


_PARAMETERS = (
    "resolution", "ratio", "duration", "seed", "watermark", "language", "audio_setting", "deadline_seconds",
    "webhook_url",
)  # fmt: skip


class AsyncClient:
    """One server and one key. Close it, or use it as a context manager.

    Every method raises ServerUnreachable when nobody answers, RequestRefused when the server says no, and ClientError
    when the answer makes no sense.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str = "",
        timeout_seconds: float = 30.0,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`timeout_seconds` is for one exchange (connect, send, or the next piece of an answer), not for a wait.

        Raises:
            ConfigError: `base_url` is no http(s) address, or the key cannot be sent in a header.
        """
        self._wire = Wire(base_url, api_key, timeout_seconds, transport)
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    async def submit(self, model: str, prompt: str, **options: Unpack[SubmitOptions]) -> str:
        """Create a task and return its id. It is sent again after a lost connection, under the same Idempotency-Key, so
        that it makes one task only.

        Raises:
            MediaError, InvalidURL, InvalidParameter: the media cannot be used (checked before anything is sent).
        """
        video = options.get("video") or ""
        if video and not is_url(str(video)):
            local_video(video)
            request_media(options.get("image"), options.get("references", ()), f"{OSS_SCHEME}video")
            video = await self.upload(Path(video), model)
        given: dict[str, Any] = {"prompt": prompt} if prompt else {}
        if media := request_media(options.get("image"), options.get("references", ()), str(video)):
            given["media"] = media
        if options.get("dialogue") is not None:
            given["dialogue"] = options["dialogue"]
        parameters = {name: value for name in _PARAMETERS if (value := options.get(name)) is not None}
        parameters |= {"strict_capabilities": True} if options.get("strict") else {}
        headers = {
            "x-dashscope-async": "enable",
            "idempotency-key": options.get("idempotency_key") or str(uuid.uuid4()),
        }
        if any(item["url"].startswith(OSS_SCHEME) for item in media):
            headers["x-dashscope-ossresourceresolve"] = "enable"
        return await self._create({"model": model, "input": given, "parameters": parameters}, headers)

    async def _create(self, body: dict[str, Any], headers: dict[str, str]) -> str:
        attempt = 1
        while True:
            try:
                return parse_task(await self._wire.call("POST", CREATE_PATH, json=body, headers=headers)).task_id
            except (ServerUnreachable, RequestRefused) as error:
                throttled = isinstance(error, RequestRefused) and error.http_status == _THROTTLED
                if throttled or not is_passing(error) or attempt == SUBMIT_ATTEMPTS:
                    raise
                await self._sleep(pause_seconds(error, attempt))
                attempt += 1

    async def upload(self, path: Path, model: str) -> str:
        """Send a video ahead of a create of this model; its `oss://` address, which only the same account can use.

        Raises:
            MediaError: it cannot be read, is too large or is no MP4 or MOV.
        """
        content_type = local_video(path)
        answer = await self._wire.call("GET", UPLOADS_PATH, params={"action": "getPolicy", "model": model})
        host, fields = parse_policy(answer, f"video{path.suffix.lower()}", content_type)
        await self._wire.post_form(parse_url(host), fields, path, content_type)
        return f"{OSS_SCHEME}{fields['key']}"

    async def get(self, task_id: str) -> TaskView:
        """The task now; state UNKNOWN when the server has no such task, or not for this key."""
        return parse_task(await self._wire.call("GET", _task_path(task_id)))

    async def wait(
        self,
        task_id: str,
        on_change: Callable[[TaskView], None] | None = None,
        timeout_seconds: float = 3600.0,
        poll_seconds: float = 0.5,
        on_trouble: OnTrouble | None = None,
    ) -> TaskView:
        """Follow the task's events until it SUCCEEDED, or poll where the server sends none; `on_change` gets every view
        that differs from the one before.

        Lost connections, 429 and 5xx are ridden out (`on_trouble` hears of them) with growing pauses, or the server's
        Retry-After.

        Raises:
            TaskFailed: it ended FAILED or CANCELED, or is UNKNOWN.
            WaitTimeout: it had not ended after `timeout_seconds`.
        """
        patience = Patience(task_id, timeout_seconds, self._sleep)
        watch = Watch(self._wire, _task_path(task_id), task_id, patience, poll_seconds)
        seen: TaskView | None = None
        async for view in watch.views(lambda: self.get(task_id), on_trouble):
            if view != seen and on_change is not None:
                on_change(view)
            seen = view
        assert seen is not None  # noqa: S101 - views end with one that is over, or raise
        return succeeded(seen)

    async def cancel(self, task_id: str, running: bool = False) -> None:
        """Cancel a PENDING task; with `running` (an administrator's key) also one that runs, between its steps."""
        await self._wire.call("POST", f"{_task_path(task_id)}/cancel", params={"running": "true"} if running else {})

    async def list(self, status: str = "", model: str = "", page: int = 1, page_size: int = 10) -> TaskPage:
        """One page of this key's tasks of the last day, newest first; empty filters select all."""
        params: dict[str, str | int] = {"page_no": page, "page_size": page_size}
        params |= {name: value for name, value in (("status", status), ("model_name", model)) if value}
        return parse_page(await self._wire.call("GET", TASKS_PATH, params=params))

    async def download(self, view: TaskView, path: Path) -> Path:
        """Bring the clip into `path`: first into a file beside it, renamed when complete. Returns `path`.

        Raises:
            TaskFailed: the task has no clip.
            ClientError: the file cannot be written, or the address redirects to another host.
        """
        address = succeeded(view).video_url
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            with part.open("x+b") as file:
                await Download(self._wire, address, file).run(self._sleep)
            part.replace(path)
        except OSError as error:
            raise ClientError(f"cannot write the clip to {path}: {error.strerror}; choose another place") from error
        finally:
            part.unlink(missing_ok=True)
        return path


def _task_path(task_id: str) -> str:
    return f"{TASKS_PATH}/{quote(task_id, safe='')}"


def succeeded(view: TaskView) -> TaskView:
    """The view, if its task SUCCEEDED.

    Raises:
        TaskFailed: it did not, or not yet.
    """
    if view.state is TaskState.SUCCEEDED:
        return view
    if view.state is TaskState.UNKNOWN:
        raise TaskFailed(view.task_id, view.state, "NotFound", "the server has no such task, or not for this key")
    message = view.message or ("no clip comes of it" if view.state.is_terminal else "it has no clip yet; wait for it")
    raise TaskFailed(view.task_id, view.state, view.code or view.state, message)
