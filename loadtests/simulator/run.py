"""One run: arrivals and boundaries in order of a virtual clock; the scheduler decides, the gangs do as told."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from deployment.scheduler.values import GangPlan, GangState, RunningBatch, UnitCosts
from hhray.blocks import Block
from hhray.tasks import QueuedTask

# Boundaries this close together are one instant: an engine sees them in one turn of its loop.
SAME_INSTANT = 1e-3


class Decides(Protocol):
    """What a scheduler is to the simulator."""

    def add(self, tasks: Iterable[QueuedTask]) -> None: ...

    def plan(self, gang: GangState, now: float) -> GangPlan: ...


@dataclass(slots=True, eq=False)
class Batch:
    """A batch that a simulated gang has begun."""

    batch_id: str
    tasks: tuple[QueuedTask, ...]
    block: Block | None
    units: int
    units_done: int = 0
    busy: bool = False
    free_at: float = 0.0
    pauses: int = 0
    ran_on: Block | None = None

    def state(self) -> RunningBatch:
        """As the scheduler is told."""
        first = self.tasks[0]
        return RunningBatch(
            self.batch_id,
            tuple(task.task_id for task in self.tasks),
            first.bucket,
            self.units_done,
            self.block,
            self.busy,
            self.free_at,
            first.deterministic,
            self.pauses,
            first.tenant,
            first.submitted_at,
            first.deadline,
            first.reserved,
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """A clip that was made: seconds of the virtual clock."""

    task: QueuedTask
    began: float
    ended: float
    pauses: int

    @property
    def stretch(self) -> float:
        """Latency / time alone on one idle rank."""
        return (self.ended - self.task.submitted_at) / self.task.gpu_seconds


@dataclass(slots=True)
class Record:
    """What came of a run."""

    ended: list[Ended] = field(default_factory=list)
    decisions: int = 0
    decision_seconds: float = 0.0
    slowest_decision: float = 0.0
    pauses: int = 0
    moves: int = 0
    switches: int = 0
    rank_seconds: float = 0.0
    batches: int = 0


@dataclass(slots=True, eq=False)
class Gang:
    """A simulated gang."""

    engine_id: str
    num_ranks: int
    batches: dict[str, Batch] = field(default_factory=dict)
    warm: set[str] = field(default_factory=set)

    def state(self) -> GangState:
        """As the scheduler is told."""
        return GangState(
            self.engine_id,
            self.num_ranks,
            tuple(batch.state() for batch in self.batches.values()),
            frozenset(self.warm),
        )

    @property
    def free_ranks(self) -> int:
        return self.num_ranks - sum(b.block.num_ranks for b in self.batches.values() if b.busy and b.block)


class Simulation:
    """Runs tasks through a scheduler on simulated gangs. Seeded; the only real clock is the decisions' own time."""

    def __init__(
        self,
        costs: UnitCosts,
        scheduler: Decides,
        num_gangs: int = 1,
        num_ranks: int = 8,
        switch_seconds: float = 0.02,
        step_noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._costs, self._scheduler = costs, scheduler
        self._switch, self._noise = switch_seconds, step_noise
        self._chance = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self._gangs = [Gang(f"gang-{number}", num_ranks) for number in range(num_gangs)]
        self._tasks: dict[str, QueuedTask] = {}
        self._began: dict[str, float] = {}
        self._events: list[tuple[float, int, Gang, Batch]] = []
        self._count = 0
        self.record = Record()

    def run(self, arrivals: Iterable[QueuedTask]) -> Record:
        """Take all arrivals and go on until the last clip is made."""
        coming = iter(arrivals)
        task = next(coming, None)
        while task is not None or self._events:
            if task is not None and (not self._events or task.submitted_at <= self._events[0][0]):
                self._tasks[task.task_id] = task
                self._scheduler.add([task])
                for gang in sorted(self._gangs, key=lambda gang: -gang.free_ranks):
                    if gang.free_ranks:
                        self._decide(gang, task.submitted_at)
                task = next(coming, None)
            else:
                self._pass_boundaries()
        return self.record

    def _pass_boundaries(self) -> None:
        """All boundaries of this instant, then a decision for each gang that had one."""
        now = self._events[0][0]
        touched: dict[str, Gang] = {}
        while self._events and self._events[0][0] <= now + SAME_INSTANT:
            now, _, gang, batch = heapq.heappop(self._events)
            batch.busy = False
            batch.units_done += 1
            touched[gang.engine_id] = gang
            if batch.units_done == batch.units:
                del gang.batches[batch.batch_id]
                for task in batch.tasks:
                    self.record.ended.append(Ended(task, self._began[task.task_id], now, batch.pauses))
        for gang in touched.values():
            self._decide(gang, now)

    def _decide(self, gang: Gang, now: float) -> None:
        state = gang.state()
        began = time.thread_time()
        plan = self._scheduler.plan(state, now)
        took = time.thread_time() - began
        record = self.record
        record.decisions += 1
        record.decision_seconds += took
        record.slowest_decision = max(record.slowest_decision, took)
        self._obey(gang, plan, now)

    def _obey(self, gang: Gang, plan: GangPlan, now: float) -> None:
        for batch_id, block in plan.blocks.items():
            batch = gang.batches[batch_id]
            if block is None and batch.block is not None:
                batch.pauses += 1
                self.record.pauses += 1
            elif block is not None and batch.ran_on is not None and block != batch.ran_on:
                self.record.moves += 1
            batch.block = block
        for start in plan.starts:
            tasks = tuple(self._tasks.pop(task_id) for task_id in start.task_ids)
            batch = Batch(tasks[0].task_id, tasks, start.block, self._costs.num_units(start.bucket))
            gang.batches[batch.batch_id] = batch
            gang.warm.add(start.bucket)
            self.record.batches += 1
            self._began.update((task.task_id, now) for task in tasks)
        self._check(gang)
        for batch in gang.batches.values():
            if batch.block is not None and not batch.busy:
                self._begin_unit(gang, batch, batch.block, now)

    @staticmethod
    def _check(gang: Gang) -> None:
        ranks = [rank for batch in gang.batches.values() if batch.block for rank in batch.block.ranks]
        if len(ranks) != len(set(ranks)) or any(rank >= gang.num_ranks for rank in ranks):
            raise RuntimeError(f"blocks overlap or leave the gang: {sorted(ranks)}; the plan is wrong")

    def _begin_unit(self, gang: Gang, batch: Batch, block: Block, now: float) -> None:
        first = batch.tasks[0]
        seconds = self._costs.unit_seconds(first.bucket, batch.units_done, block.num_ranks, len(batch.tasks))
        if self._noise:
            seconds *= self._chance.lognormvariate(0.0, self._noise)
        if batch.ran_on != block:
            seconds += self._switch
            self.record.switches += 1
        batch.ran_on, batch.busy, batch.free_at = block, True, now + seconds
        self.record.rank_seconds += seconds * block.num_ranks
        self._count += 1
        heapq.heappush(self._events, (batch.free_at, self._count, gang, batch))
