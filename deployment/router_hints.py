"""Tells the router that tasks came: at once, and one more time for all that come in the next moment.

A call through Serve takes about as long as a whole create, and the router needs one of them only.
"""

from __future__ import annotations

import logging
import threading
from time import sleep as pause

from ray.serve.handle import DeploymentHandle

logger = logging.getLogger("ray.serve")

GAP_SECONDS = 0.1
LOOK_SECONDS = 1.0


class RouterHints:
    """Hints of one ingress replica. They may be lost: the router looks at the store by itself."""

    def __init__(self, router: DeploymentHandle) -> None:
        self._router = router
        self._wake = threading.Event()

    def kick(self, task_id: str) -> None:  # noqa: ARG002 - whichever it is, the router reads all that are new
        """A task became claimable. Never raises, never waits."""
        self._wake.set()

    def serve(self, stop: threading.Event) -> None:
        """Send hints until `stop` is set."""
        while not stop.is_set():
            if not self._wake.wait(LOOK_SECONDS):
                continue
            self._wake.clear()
            try:
                self._router.kick.remote()
            except Exception as error:  # noqa: BLE001 - the tasks are committed; a hint that is lost costs a moment
                logger.warning("router not hinted (%s)", type(error).__name__)
            pause(GAP_SECONDS)
