"""How many tasks wait, as a create needs to know it: to count all of them for each would cost more than its row."""

from __future__ import annotations

import threading
import time

from deployment.store.base import TaskStore
from hhray.errors import Throttled

FRESH_SECONDS = 1.0
RETRY_SECONDS = 5.0


class Backlog:
    """One per ingress replica. Between two countings it adds what this replica lets in, so that it never lets in too
    many by itself; several replicas together may exceed the limit by what they take in a second."""

    def __init__(self, store: TaskStore, most: int) -> None:
        self._store, self._most = store, most
        self._turn = threading.Lock()
        self._queued, self._fresh_until = 0, -1.0

    def check(self) -> None:
        """Let one more task in.

        Raises:
            Throttled: as many wait as this server keeps, counted just now.
            StoreUnavailable: they cannot be counted.
        """
        with self._turn:
            if self._queued >= self._most or time.monotonic() >= self._fresh_until:
                self._queued = self._store.depth().queued
                self._fresh_until = time.monotonic() + FRESH_SECONDS
            if self._queued >= self._most:
                raise Throttled(f"Too many tasks are waiting ({self._most}); please try again later.", RETRY_SECONDS)
            self._queued += 1
