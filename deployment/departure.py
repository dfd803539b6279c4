"""Clients that go away before their create is answered, as one client of the hosted API does to send it again.

Told apart from a client that means to make the same clip twice: a create is merged into an older one only if the server
itself saw the older one's connection break before it was answered, and only within REPOST_SECONDS.
"""

from __future__ import annotations

import logging
import threading

from deployment.keys import Caller
from deployment.store.base import TaskStore
from hhray.errors import StoreUnavailable

logger = logging.getLogger("ray.serve")

REPOST_SECONDS = 5.0


class Departure:
    """Watches one create, from the event loop (`left`) and from the thread that makes the task (`named`, `committed`).

    Whoever learns the last missing part writes it to the store, where every ingress replica finds it.
    """

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._gone = False
        self._tenant = ""
        self._task_id = ""
        self.repost_key: str | None = None

    def named(self, caller: Caller, fingerprint: str) -> None:
        """What the create asks for, and by which key. The space keeps it apart from what clients send as keys."""
        with self._lock:
            self._tenant, self.repost_key = caller.tenant, f"repost {caller.key_id} {fingerprint}"
            self._note()

    def committed(self, task_id: str) -> None:
        """The task the create got."""
        with self._lock:
            self._task_id = task_id
            self._note()

    def left(self) -> None:
        """The client has gone, unanswered."""
        with self._lock:
            self._gone = True
            self._note()

    @property
    def is_gone(self) -> bool:
        """Whether the client was seen to go."""
        return self._gone

    def _note(self) -> None:
        if not self._gone or self.repost_key is None:
            return
        try:
            self._store.note_repost(self._tenant, self.repost_key, self._task_id, REPOST_SECONDS)
        except StoreUnavailable as error:  # without the note a repost makes a second task; the create must not fail
            logger.warning("a client that left could not be noted: %s", error)
