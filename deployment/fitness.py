"""Whether an engine should take work: disks that took its last clips, room for the next, and no suspect GPU."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from deployment.fault_record import QUARANTINED, FaultRecord, others_can_work
from deployment.storage import StoragePause, check_room
from deployment.store.base import TaskStore
from hhray.errors import ArtifactsUnavailable
from hhray.settings import Settings

logger = logging.getLogger("ray.serve")
MISSED_HEARTBEATS = 5


def fresh_seconds(settings: Settings) -> float:
    """An engine lives that has reported within so many seconds."""
    return MISSED_HEARTBEATS * settings.router.heartbeat_seconds


class EngineFitness:
    """One engine's. `gpus` names the GPU of each rank, empty on CPUs; `clock` is seconds since the epoch."""

    def __init__(self, settings: Settings, engine_id: str, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._engine_id, self._clock = settings, engine_id, clock
        self._pause = StoragePause(settings.engine.storage_pause_seconds)
        self._faults = FaultRecord(settings.engine.quarantine_strikes, settings.engine.quarantine_window_seconds)
        self.gpus: Sequence[str] = ()

    def gang_failed(self, error: Exception | None) -> None:
        """A fault cost the gang: its ranks get a strike each, or nobody in particular when it names none."""
        for rank in getattr(error, "ranks", None) or (None,):
            gpu = self.gpus[rank] if rank is not None and rank < len(self.gpus) else ""
            self._faults.strike(self._clock(), socket.gethostname(), rank, gpu, str(error))
        for suspect in self._faults.suspects(self._clock()):
            logger.error("%s %s failed %d times, last: %s", suspect.kind, suspect.name, suspect.strikes, suspect.last)

    def not_stored(self, error: ArtifactsUnavailable) -> None:
        """A finished clip found no place."""
        logger.error("no work is taken for %.0f s: %s", self._pause.failed(self._clock()), error)

    def stored(self) -> None:
        """A clip was stored."""
        self._pause.stored()

    def may_work(self, store: TaskStore) -> bool:
        """Whether to redeem a ticket now.

        Raises:
            StoreUnavailable: nobody can tell whether another engine lives.
        """
        now, settings = self._clock(), self._settings
        if not self._pause.over(now):
            return False
        try:
            check_room(settings.work_dirs, settings.store.min_free_bytes)
        except ArtifactsUnavailable as error:
            self.not_stored(error)
            return False
        if not self._faults.quarantined(now):
            return True
        engines = store.engines(fresh_seconds(settings))
        return not others_can_work([(one.engine_id, one.state) for one in engines], self._engine_id)

    def state(self, state: str) -> str:
        """The state to report: what the engine says, or that it is quarantined."""
        return QUARANTINED if state in ("ready", "busy") and self._faults.quarantined(self._clock()) else state

    def report(self) -> dict[str, Any]:
        """For the heartbeat."""
        return {"node": socket.gethostname(), "suspects": self._faults.report(self._clock())}
