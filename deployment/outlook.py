"""What an ingress replica knows of the queue and the engines, read from the store once for everybody who asks.

From it and a task's row comes what clients see beside the state: steps, queue position, estimate. Polls and streams
share one reading, so that many listeners cost the store no more than one.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from deployment.eta import Eta, Line, relative_error, running_eta, waiting_eta
from deployment.fitness import fresh_seconds
from deployment.scheduler.policy import Policy
from deployment.store.api_verbs import WaitingTask
from deployment.store.base import TaskStore
from hhray.corrected_costs import CorrectedCosts
from hhray.cost import CostModel
from hhray.cost_correction import Corrections
from hhray.predicted_ratio import ratio_histograms
from hhray.settings import Settings
from hhray.tasks import Stage, Task, TaskState
from hhray.unit_costs import UnitCostTable

READ_SECONDS, MOST_READ_SECONDS = 1.0, 10.0  # how old a reading may be
READ_SHARE = 0.02  # of a replica's time that readings may take: those of a long queue are made less often
COSTS_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a task stands. Fields that are not known are None and are left out of answers."""

    step: int | None = None
    steps: int | None = None
    stage: str | None = None
    queue_position: int | None = None
    eta: Eta | None = None

    def fields(self) -> dict[str, Any]:
        """By the names both dialects use; estimates in seconds, to a tenth."""
        known: dict[str, Any] = {
            "step": self.step,
            "steps": self.steps,
            "stage": self.stage,
            "queue_position": self.queue_position,
        }
        if self.eta is not None:
            known |= {"eta_seconds": _tenths(self.eta.seconds), "eta_error_seconds": _tenths(self.eta.error_seconds)}
        return {name: value for name, value in known.items() if value is not None}


def _tenths(seconds: float) -> float:
    return round(seconds, 1)


@dataclass(slots=True)
class _Reading:
    """The store as it was; good until `until` (monotonic seconds)."""

    line: Line
    running_left: float
    ranks: float
    ranks_per_engine: int
    until: float


@dataclass(slots=True)
class _Costs:
    """What was learned about costs, as of `read_at`."""

    costs: CorrectedCosts
    error: float
    read_at: float = field(default_factory=time.monotonic)


class Outlook:
    """One per replica; any thread may ask. Every call may raise StoreUnavailable."""

    def __init__(self, settings: Settings, store: TaskStore, cost: CostModel) -> None:
        self._settings, self._store = settings, store
        self._table = UnitCostTable(cost)
        self._weight = Policy(weights={name: one.weight for name, one in settings.tenants.items()}).weight
        self._lock = threading.Lock()
        self._reading: _Reading | None = None
        self._costs: _Costs | None = None

    def standing(self, task: Task, queue_position: int | None = None) -> Standing:
        """Where a task stands now; `queue_position` if the caller has looked it up, else that of the last reading."""
        if task.state is TaskState.PENDING:
            return self._waiting(task, queue_position)
        if task.state is TaskState.RUNNING:
            return self._running(task)
        return Standing()

    def _waiting(self, task: Task, queue_position: int | None) -> Standing:
        request = task.request
        reading, learned = self._read()
        own = WaitingTask(task.task_id, task.tenant, task.priority, task.gpu_seconds)
        place = reading.line.place(own)
        bucket = str(request.shape_key)
        seconds = sum(learned.costs.units(bucket, reading.ranks_per_engine, 1)) if reading.ranks else 0.0
        eta = waiting_eta(place, reading.running_left, seconds, reading.ranks, learned.error)
        known = place.position if task.ready and task.task_id in reading.line else None
        return Standing(queue_position=known if queue_position is None else queue_position, eta=eta)

    def _running(self, task: Task) -> Standing:
        reading, learned = self._read()
        bucket = str(task.request.shape_key)
        steps = self._table.cost.served.num_steps(task.request.geometry)
        done = min(round(task.progress * steps), steps)
        shown = Standing(done, steps, task.stage or None)
        if task.started_at is None or not reading.ranks:
            return shown
        units = learned.costs.units(bucket, reading.ranks_per_engine, 1)
        elapsed = max(time.time() - task.started_at, 0.0)
        if task.stage in (Stage.DECODE, Stage.MUX, Stage.PUBLISH):
            eta = running_eta(units[steps:], 0, 0.0, 1.0)  # how much of it is done is not reported
        else:
            eta = running_eta(units, done, elapsed, learned.error)
        return Standing(done, steps, task.stage or None, eta=eta)

    def _read(self) -> tuple[_Reading, _Costs]:
        with self._lock:
            now = time.monotonic()
            if self._costs is None or now - self._costs.read_at > COSTS_SECONDS:
                self._costs = self._read_costs()
            if self._reading is None or now > self._reading.until:
                self._reading = self._read_queue()
            return self._reading, self._costs

    def _read_costs(self) -> _Costs:
        rows = self._store.costs()
        corrected = CorrectedCosts(self._table, Corrections.from_rows(rows))
        return _Costs(corrected, relative_error(ratio_histograms(rows)))

    def _read_queue(self) -> _Reading:
        settings, began = self._settings, time.monotonic()
        waiting, running_left = self._store.waiting()
        engines = self._store.engines(fresh_seconds(settings))
        sizes = [engine.world_size for engine in engines]
        line, now = Line(waiting, self._weight), time.monotonic()
        ranks = sum(sizes) * settings.autoscaling.efficiency
        until = now + min(max(READ_SECONDS, (now - began) / READ_SHARE), MOST_READ_SECONDS)
        return _Reading(line, running_left, ranks, max(sizes, default=settings.engine.ranks), until)
