"""What one decision is about: batches at a boundary, and tasks that may be begun, in one order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from deployment.scheduler.fair_queue import Waiting
from deployment.scheduler.policy import Policy
from deployment.scheduler.profile import ClipProfile
from deployment.scheduler.values import RunningBatch
from hhray.blocks import Block


class Tier(IntEnum):
    """Who goes before whom; inside a tier the earliest due."""

    RESERVED = 0
    AGED = 1
    ON_TIME = 2
    LATE = 3


@dataclass(slots=True, eq=False)
class Clip:
    """A batch at a boundary, or tasks (`tasks`) that would be begun as one. Times in seconds of the caller's clock.

    `due` orders it inside its tier, `target` is when it should end, `last_end` when it is late. `own` is the block it
    was on. `kept`: it gets a block before others are served, if only a small one. `short`: it has no long steps.
    `fixed_degree`: it may run on that many ranks only (0: any). `placed` is the block this decision gives it.
    """

    tier: Tier
    due: float
    target: float
    last_end: float
    bucket: str
    profile: ClipProfile
    tenant: str
    reserved: bool
    short: bool
    kept: bool = False
    units_done: int = 0
    own: Block | None = None
    batch_id: str = ""
    tasks: tuple[Waiting, ...] = ()
    fixed_degree: int = 0
    degree: int = 0
    placed: Block | None = None

    @property
    def order(self) -> tuple[int, float]:
        """Lower goes first."""
        return (self.tier, self.due)

    def step(self, degree: int) -> float:
        """Wall seconds of its next unit on so many ranks."""
        return self.profile.step(self.units_done, degree)

    def left(self, degree: int) -> float:
        """Wall seconds of all units not done on so many ranks."""
        return self.profile.left(self.units_done, degree)


def clip_of_batch(batch: RunningBatch, profile: ClipProfile, policy: Policy, now: float) -> Clip:
    """A batch that stands at a boundary. A share it may own is looked at when its turn comes."""
    alone, since = profile.alone, batch.submitted_at
    last_end = policy.last_end(since, alone, batch.deadline)
    due, tier = policy.due(since, alone, batch.deadline), Tier.ON_TIME
    if now + profile.best_left(batch.units_done, policy.late_degree) > last_end:
        due, tier = policy.aged_at(since, alone), Tier.LATE
    short = is_short(profile, policy)
    return Clip(
        tier=tier,
        due=due,
        target=policy.target(since, alone, short, batch.deadline),
        last_end=last_end,
        bucket=batch.bucket,
        profile=profile,
        tenant=batch.tenant,
        reserved=batch.reserved,
        short=short,
        kept=is_kept(batch, profile, policy),
        units_done=batch.units_done,
        own=batch.block,
        batch_id=batch.batch_id,
    )


def clip_of_task(waiting: Waiting, tier: Tier, profile: ClipProfile, policy: Policy) -> Clip:
    """A task that would be begun now."""
    task, short = waiting.task, is_short(profile, policy)
    return Clip(
        tier=tier,
        due=waiting.due,
        target=policy.target(task.submitted_at, task.gpu_seconds, short, task.deadline),
        last_end=policy.last_end(task.submitted_at, task.gpu_seconds, task.deadline),
        bucket=task.bucket,
        profile=profile,
        tenant=task.tenant,
        reserved=task.reserved,
        short=short,
        tasks=(waiting,),
        fixed_degree=policy.deterministic_degree if task.deterministic else 0,
    )


def is_short(profile: ClipProfile, policy: Policy) -> bool:
    """Whether a clip has no long step."""
    return profile.longest_step(1) < policy.long_step_seconds


def is_kept(batch: RunningBatch, profile: ClipProfile, policy: Policy) -> bool:
    """Whether a begun batch is not paused: it ends anyhow, or was paused often enough."""
    units_left = profile.num_units - batch.units_done
    return units_left < policy.units_worth_a_pause or batch.pauses >= policy.max_pauses
