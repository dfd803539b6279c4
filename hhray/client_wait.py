"""Waiting for a task: by the server's events where it sends them, else by asking again."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

from hhray.client_http import Wire, is_passing, pause_seconds
from hhray.client_view import TaskView, parse_event
from hhray.errors import ClientError, RequestRefused, ServerUnreachable, WaitTimeout

EVENTS_PATH = "/v1/videos/{}/events"
STREAM_SECONDS = 60.0  # longer than a server keeps a stream open

Sleep = Callable[[float], Awaitable[None]]
OnTrouble = Callable[[ClientError], None]


class Patience:
    """How long a wait may still take."""

    def __init__(self, task_id: str, seconds: float, sleep: Sleep) -> None:
        self._task_id, self._seconds, self._sleep = task_id, seconds, sleep
        self._deadline = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        return self._deadline - time.monotonic()

    async def pause(self, seconds: float, last: str) -> None:
        """Raises WaitTimeout when the time is up; `last` says how things stood."""
        if self.left_seconds <= 0:
            raise WaitTimeout(
                f"task {self._task_id} has not ended within {self._seconds:g} s ({last}); wait for it again"
            )
        await self._sleep(min(seconds, self.left_seconds))


class Watch:
    """The views of one task, from now until it is over."""

    def __init__(self, wire: Wire, path: str, task_id: str, patience: Patience, poll_seconds: float) -> None:
        self._wire, self._path, self._patience, self._poll_seconds = wire, path, patience, poll_seconds
        self._events_path: str | None = EVENTS_PATH.format(path.rpartition("/")[2])
        self._task_id = task_id
        self._last_id = ""

    async def views(
        self, get: Callable[[], Awaitable[TaskView]], on_trouble: OnTrouble | None
    ) -> AsyncIterator[TaskView]:
        """Each view as it comes, the last one is over. Lost connections, 429 and 5xx are ridden out.

        Raises:
            WaitTimeout: the patience is over.
            RequestRefused: the server says no, and a later answer will be no better.
        """
        failures = 0
        while True:
            try:
                view = await get()
                failures = 0
                yield view
                if view.is_over:
                    return
                followed = False
                async for view in self._followed():
                    followed = True
                    yield view
                await self._patience.pause(0.0 if followed else self._poll_seconds, f"it is {view.state}")
            except (ServerUnreachable, RequestRefused) as error:
                if not is_passing(error):
                    raise
                failures += 1
                if on_trouble is not None:
                    on_trouble(error)
                await self._patience.pause(pause_seconds(error, failures), error.message)

    async def _followed(self) -> AsyncIterator[TaskView]:
        """Views from one stream of events, without the one that is over: the query after it has all of the result."""
        if self._events_path is None:
            return
        patience_seconds = max(min(self._patience.left_seconds, STREAM_SECONDS), 0.01)
        try:
            async for event in self._wire.events(self._events_path, self._last_id, patience_seconds):
                self._last_id = event.last_id
                view = parse_event(json.loads(event.data))
                if event.name == "done" or view.is_over:
                    return
                yield view
                if self._patience.left_seconds <= 0:
                    return
        except RequestRefused as error:
            if error.http_status not in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
                raise
            self._events_path = None  # a server of the dialect without events: ask again and again
        except ValueError as error:
            raise ServerUnreachable(f"the events of task {self._task_id} are malformed: {error}") from error
