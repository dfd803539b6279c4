"""Keeps an engine's leases alive from a thread of its own: no step, compilation, decode or upload can lose one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deployment.store.base import Claim, TaskStore
from hhray.errors import StoreUnavailable
from hhray.tasks import EngineRecord, Progress

logger = logging.getLogger("ray.serve")


@dataclass(slots=True)
class Held:
    """A claim this engine holds, its progress, and what the store last said about it."""

    claim: Claim
    progress: Progress = field(default_factory=lambda: Progress(0.0, ""))
    lost: bool = False
    cancel_requested: bool = False


class LeaseKeeper:
    """Renews leases, reports progress and sends the engine's heartbeat, every `interval` seconds.

    `describe` gives the heartbeat's content. The drain deadline that comes back is kept in `drain_deadline`.
    """

    def __init__(
        self, store: TaskStore, owner: str, lease_seconds: float, interval: float, describe: Callable[[], EngineRecord]
    ) -> None:
        self._store = store
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._interval = min(interval, lease_seconds / 3)
        self._describe = describe
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.drain_deadline: float | None = None
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
        self._thread.start()

    @property
    def draining(self) -> bool:
        """Whether engines were asked to stop claiming."""
        return self.drain_deadline is not None

    @property
    def must_yield(self) -> bool:
        """Whether running clips must be given up now, between two commands."""
        return self.drain_deadline is not None and time.time() >= self.drain_deadline

    def hold(self, claim: Claim) -> Held:
        """Start renewing a claim."""
        held = Held(claim)
        with self._lock:
            older = self._held.get(claim.task.task_id)
            if older is not None:
                older.lost = True  # lost, requeued and claimed here again: its earlier attempt is over
            self._held[claim.task.task_id] = held
        return held

    def drop(self, held: Held) -> None:
        """Stop renewing a claim: it ended, was released or lost."""
        with self._lock:
            if self._held.get(held.claim.task.task_id) is held:  # not a later attempt of the same task
                del self._held[held.claim.task.task_id]

    def close(self) -> None:
        """Stop the thread; leases run out by themselves."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._beat()
            except StoreUnavailable as error:
                logger.warning("leases not renewed, trying again: %s", error)
            except Exception:  # whatever fails in one beat, the next must come, or every lease runs out
                logger.exception("leases not renewed, trying again")
            self._stop.wait(self._interval)

    def _beat(self) -> None:
        with self._lock:
            held = dict(self._held)
        if held:
            progress = {task_id: entry.progress for task_id, entry in held.items()}
            views = self._store.renew(self._owner, self._lease_seconds, progress)
            for task_id, entry in held.items():
                view = views.get(task_id)
                entry.lost = view is None or not view.held
                entry.cancel_requested = view is not None and view.cancel_requested
        self.drain_deadline = self._store.heartbeat(self._describe())
