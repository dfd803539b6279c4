"""Progress for many listeners from one shared look at the store; asynchronous, of one event loop. Knows no web."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hhray.errors import StoreUnavailable

logger = logging.getLogger("ray.serve")
KEEP_ALIVE_SECONDS = 10.0  # a comment is sent after so long without an event, so that a dead connection is noticed
RETRY_MS = 1000


@dataclass(frozen=True, slots=True)
class Shown:
    """What a listener sees of a task: `name` names this state of it, `done` that there is no later one."""

    name: str
    done: bool
    data: Mapping[str, Any]

    def event(self) -> str:
        """As a server-sent event (HTML standard, 9.2)."""
        kind = "done" if self.done else "progress"
        return f"id: {self.name}\nevent: {kind}\ndata: {json.dumps(self.data)}\n\n"


@dataclass(slots=True, eq=False)
class Listener:
    """One stream: the last that was seen of its task, and whether that is news."""

    latest: Shown
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class ProgressHub:
    """`look` blocks and gives what is to be shown of each of these tasks; it runs on a thread, every `poll_seconds`
    while anybody listens, once for all listeners."""

    def __init__(self, look: Callable[[Sequence[str]], Mapping[str, Shown]], poll_seconds: float) -> None:
        self._look, self._poll_seconds = look, poll_seconds
        self._listeners: dict[str, set[Listener]] = {}
        self._poller: asyncio.Task[None] | None = None
        self.streams: Counter[str] = Counter()  # open ones, by tenant
        self.looks = 0

    async def stream(
        self, tenant: str, task_id: str, present: Shown, last_seen: str, seconds: float
    ) -> AsyncIterator[str]:
        """Events of a task until it is done, or for so long; the first is `present` unless that was `last_seen`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        with self._listening(tenant, task_id, present) as listener:
            yield f"retry: {RETRY_MS}\n\n"
            while True:
                listener.changed.clear()
                latest = listener.latest
                if latest.name != last_seen:
                    yield latest.event()
                    last_seen = latest.name
                left = deadline - loop.time()
                if latest.done or left <= 0:
                    return
                try:
                    async with asyncio.timeout(min(left, KEEP_ALIVE_SECONDS)):
                        await listener.changed.wait()
                except TimeoutError:
                    yield ": still here\n\n"

    @contextmanager
    def _listening(self, tenant: str, task_id: str, present: Shown) -> Iterator[Listener]:
        listener = Listener(present)
        self._listeners.setdefault(task_id, set()).add(listener)
        self.streams[tenant] += 1
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            yield listener
        finally:
            self.streams[tenant] -= 1
            if not self.streams[tenant]:
                del self.streams[tenant]
            self._listeners[task_id].discard(listener)
            if not self._listeners[task_id]:
                del self._listeners[task_id]

    async def _poll(self) -> None:
        """Look as long as there are listeners. A store that is away, or a fault of ours, must not end it."""
        try:
            while self._listeners:
                try:
                    found = await asyncio.to_thread(self._look, list(self._listeners))
                    self.looks += 1
                    self._tell(found)
                except StoreUnavailable as error:
                    logger.warning("progress is not read, trying again: %s", error)
                except Exception:  # whatever fails in one look, the next must come
                    logger.exception("progress is not read, trying again")
                await asyncio.sleep(self._poll_seconds)
        finally:
            self._poller = None

    def _tell(self, found: Mapping[str, Shown]) -> None:
        for task_id, shown in found.items():
            for listener in self._listeners.get(task_id, ()):
                if listener.latest.name != shown.name:
                    listener.latest = shown
                    listener.changed.set()
