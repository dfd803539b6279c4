"""Measures the work there is, for the autoscaling policy. It is all in the store, so a new router knows it at once."""

from __future__ import annotations

import time
from dataclasses import asdict

from deployment.autoscaling import Bounds, ScalingTargets, Signals, engines_for
from deployment.fault_record import QUARANTINED
from deployment.fitness import fresh_seconds
from deployment.store.base import TaskStore
from hhray.settings import Settings

# Engines that went stay in the store for a day: how long they took to start is worth knowing for the next.
REMEMBERED_SECONDS = 86400.0


class WorkMeter:
    """The last reading of the store, and how many engines live by it.

    The arrival rate is the mean over the last `window_seconds`, recomputed from the rows each time. An engine that
    has reported within `fresh_seconds` lives.
    """

    def __init__(self, store: TaskStore, window_seconds: float, fresh_seconds: float = 5.0) -> None:
        self._store = store
        self._fresh_seconds = fresh_seconds
        self._window_seconds = window_seconds
        self._signals: Signals | None = None

    def read(self) -> Signals:
        """Look at the store.

        Raises:
            StoreUnavailable: the database does not answer; the last reading stays, and ages.
        """
        demand = self._store.demand(self._window_seconds)
        starts = [engine.detail.get("start_seconds", 0.0) for engine in self._store.engines(REMEMBERED_SECONDS)]
        self._signals = Signals(
            queued=demand.queued,
            queued_gpu_seconds=demand.queued_gpu_seconds,
            running=demand.running,
            remaining_gpu_seconds=demand.remaining_gpu_seconds,
            arrival_rate=demand.arrived_gpu_seconds / self._window_seconds,
            cold_start_seconds=max(starts, default=0.0),
            read_at=time.time(),
            quarantined=sum(engine.state == QUARANTINED for engine in self._store.engines(self._fresh_seconds)),
        )
        return self._signals

    def stats(self) -> dict[str, float]:
        """The reading by the names of `Signals`, as Serve wants it; empty before the first."""
        return {} if self._signals is None else asdict(self._signals)


def work_meter(store: TaskStore, settings: Settings) -> WorkMeter:
    """The meter as the settings want it."""
    return WorkMeter(store, settings.autoscaling.arrival_window_seconds, fresh_seconds(settings))


def desired_engines(store: TaskStore, settings: Settings) -> int:
    """Engines that the work in the store asks for, within the bounds and without the policy's windows.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    bounds = Bounds(*settings.engine_bounds)
    if not settings.autoscales:
        return bounds.lowest
    signals = work_meter(store, settings).read()
    return bounds.clamp(engines_for(signals, scaling_targets(settings)))


def scaling_targets(settings: Settings) -> ScalingTargets:
    """What the settings ask of the policy."""
    scaling = settings.autoscaling
    return ScalingTargets(
        ranks=settings.engine.ranks,
        drain_target_seconds=scaling.drain_target_seconds,
        utilisation=scaling.utilisation,
        efficiency=scaling.efficiency,
        up_window_seconds=scaling.up_window_seconds,
        down_window_seconds=scaling.down_window_seconds,
        idle_grace_seconds=scaling.idle_grace_seconds,
        cold_start_seconds=scaling.cold_start_seconds,
        stale_seconds=scaling.stale_seconds,
    )
