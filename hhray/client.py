"""A client of an hhray server, in the DashScope dialect of the wire contract: `AsyncClient`, and `Client` for callers
without an event loop.

A create is sent with an Idempotency-Key, so that it can be sent again after a dropped connection without making a
second task. Waiting follows the server's events and outlasts a restart of the server.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from hhray.async_client import CREATE_PATH, SUBMIT_ATTEMPTS, TASKS_PATH, AsyncClient, SubmitOptions
from hhray.client_blocking import BlockingTransport, at_once, sleep_here
from hhray.client_view import TaskPage, TaskView
from hhray.client_wait import OnTrouble

__all__ = ["CREATE_PATH", "SUBMIT_ATTEMPTS", "TASKS_PATH", "AsyncClient", "Client", "SubmitOptions"]


class Client:
    """AsyncClient, method for method, in the calling thread; not to be shared between threads."""

    def __init__(self, base_url: str, api_key: str = "", timeout_seconds: float = 30.0) -> None:
        """As AsyncClient."""
        self._client = AsyncClient(base_url, api_key, timeout_seconds, transport=BlockingTransport(), sleep=sleep_here)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        at_once(self._client.close())

    def submit(self, model: str, prompt: str, **options: Unpack[SubmitOptions]) -> str:
        """AsyncClient.submit."""
        return at_once(self._client.submit(model, prompt, **options))

    def upload(self, path: Path, model: str) -> str:
        """AsyncClient.upload."""
        return at_once(self._client.upload(path, model))

    def get(self, task_id: str) -> TaskView:
        """AsyncClient.get."""
        return at_once(self._client.get(task_id))

    def wait(
        self,
        task_id: str,
        on_change: Callable[[TaskView], None] | None = None,
        timeout_seconds: float = 3600.0,
        poll_seconds: float = 0.5,
        on_trouble: OnTrouble | None = None,
    ) -> TaskView:
        """AsyncClient.wait."""
        return at_once(self._client.wait(task_id, on_change, timeout_seconds, poll_seconds, on_trouble))

    def cancel(self, task_id: str, running: bool = False) -> None:
        """AsyncClient.cancel."""
        at_once(self._client.cancel(task_id, running))

    def list(self, status: str = "", model: str = "", page: int = 1, page_size: int = 10) -> TaskPage:
        """AsyncClient.list."""
        return at_once(self._client.list(status, model, page, page_size))

    def download(self, view: TaskView, path: Path) -> Path:
        """AsyncClient.download."""
        return at_once(self._client.download(view, path))
