"""Short ways to say tasks, batches and gangs; costs are the committed ones of the simulator."""

from __future__ import annotations

from collections.abc import Iterable

from deployment.scheduler.limits import BatchLimits
from deployment.scheduler.policy import Policy
from deployment.scheduler.scheduler import Scheduler
from deployment.scheduler.values import GangState, RunningBatch
from hhray.blocks import Block
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.tasks import Priority, QueuedTask
from loadtests.simulator.costs import COSTS, CostTable

COST_TABLE = CostTable.load(COSTS / "h100_published.yaml")
LIMITS = BatchLimits(ServedModel(preset("15b")), max_clips=4, max_tokens=16384)
SMALL, MIDDLE, LARGE = "t2v/256P/16:9/3", "t2v/720P/16:9/5", "t2v/1080P/16:9/15"
REFINING = 8  # the first super-resolution step


def task(
    name: str,
    bucket: str = SMALL,
    at: float = 0.0,
    tenant: str = "tenant",
    deadline: float = 0.0,
    priority: Priority = Priority.STANDARD,
    reserved: bool = False,
    deterministic: bool = False,
    sequence: int | None = None,
) -> QueuedTask:
    number = sequence if sequence is not None else int(at * 1000)
    alone = COST_TABLE.alone_seconds(bucket)
    return QueuedTask(name, bucket, at, alone, tenant, number, deadline, priority, reserved, deterministic)


def batch(
    name: str,
    bucket: str = MIDDLE,
    block: Block | None = None,
    units_done: int = 0,
    busy: bool = False,
    at: float = 0.0,
    pauses: int = 0,
    pinned: bool = False,
    tenant: str = "tenant",
    reserved: bool = False,
    free_at: float = 0.0,
) -> RunningBatch:
    return RunningBatch(
        name, (name,), bucket, units_done, block, busy, free_at, pinned, pauses, tenant, at, 0.0, reserved
    )


def gang(*batches: RunningBatch, ranks: int = 8, name: str = "gang", warm: Iterable[str] = ()) -> GangState:
    return GangState(name, ranks, batches, frozenset(warm))


def scheduler(*tasks: QueuedTask, policy: Policy | None = None) -> Scheduler:
    made = Scheduler(COST_TABLE, policy or Policy(), LIMITS)
    made.add(tasks)
    return made
