"""Scheduler: from the queue and the state of a gang to what the gang does next."""

from __future__ import annotations

from collections.abc import Iterable

from deployment.scheduler.decision import Decision, Surroundings
from deployment.scheduler.fair_queue import Waiting
from deployment.scheduler.fleet import Fleet
from deployment.scheduler.limits import BatchLimits
from deployment.scheduler.policy import Policy
from deployment.scheduler.profile import ClipProfile
from deployment.scheduler.values import GangPlan, GangState, UnitCosts
from deployment.scheduler.waiting import WaitingTasks
from hhray.batch_cap import batch_cap
from hhray.blocks import block_sizes
from hhray.request import ShapeKey, tier_key
from hhray.tasks import QueuedTask

# Costs are corrected while engines measure; predictions are looked up anew after so many seconds.
PROFILE_SECONDS = 30.0


class Scheduler:
    """An index of the queue and the last state of every gang; all decisions of the router.

    It may lag behind the store: whether a task is really begun is decided there, by compare-and-set. Times are seconds
    of one clock, which the caller reads. With n tasks waiting a decision costs O(log n) for each task it looks at, and
    it looks at no more than there are ranks, and a few.

    Promises, as far as the predictions hold: nothing waits for more than `aging_multiple` (8) times its time alone as
    long as late clips are less than `aged_share` (an eighth) of the work. A rank is left idle while something waits
    only when all that waits would hold it for longer than `longest_step_seconds`, needs a wider block (a deterministic
    clip), has a warm engine that will be free within `switch_seconds`, or is of tenants that run as many tasks as they
    may.
    """

    def __init__(self, costs: UnitCosts, policy: Policy, limits: BatchLimits) -> None:
        self._costs, self._policy, self._limits = costs, policy, limits
        self._waiting = WaitingTasks(policy, self._packs)
        self._fleet = Fleet()
        self._profiles: dict[tuple[str, int, int, int], ClipProfile] = {}
        self._tier_keys: dict[str, str] = {}
        self._caps: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def queued_gpu_seconds(self) -> float:
        """Estimated work of all waiting tasks."""
        return self._waiting.gpu_seconds

    def add(self, tasks: Iterable[QueuedTask]) -> None:
        """Add tasks; one that waits already is left where it is."""
        self._waiting.add(tasks)

    def discard(self, task_id: str) -> None:
        """Forget a task, if it waits."""
        self._waiting.discard(task_id)

    def replace(self, tasks: Iterable[QueuedTask]) -> None:
        """Become exactly these tasks: a reconciliation with the store."""
        self._waiting.replace(tasks)

    def forget(self, engine_id: str) -> None:
        """The engine is gone: its ranks and its work no longer count."""
        self._fleet.forget(engine_id)
        self._waiting.caps.forget(engine_id)

    def plan(self, gang: GangState, now: float) -> GangPlan:
        """What a gang with free ranks or batches at a boundary shall do now. What it begins leaves the queue."""
        left = (
            self._profile(batch.bucket, len(batch.task_ids), gang, now).left(batch.units_done, 1)
            for batch in gang.batches
            if batch.bucket  # else its task is being claimed
        )
        self._fleet.remember(gang, sum(left))
        self._waiting.caps.remember(gang)
        plan = Decision(gang, self._waiting, self._surroundings(gang, now)).plan()
        if plan.starts:
            self._fleet.begins(gang.engine_id)
        self._waiting.settle(self._fleet.at_rest)
        return plan

    def _surroundings(self, gang: GangState, now: float) -> Surroundings:
        fleet, policy = self._fleet, self._policy
        backlog = fleet.backlog(self._waiting.open_gpu_seconds)

        def better_elsewhere(waiting: Waiting) -> bool:
            bucket, until = waiting.task.bucket, waiting.task.submitted_at + policy.switch_seconds
            if bucket in gang.warm or now >= until or backlog > policy.switch_seconds:
                return False
            return fleet.warm_elsewhere(gang.engine_id, bucket, until)

        return Surroundings(
            policy=policy,
            now=now,
            backlog=backlog,
            idle_elsewhere=fleet.idle_ranks_elsewhere(gang.engine_id),
            owned_left=fleet.owned_ranks_left(policy, gang),
            better_elsewhere=better_elsewhere,
            profile=lambda bucket, items: self._profile(bucket, items, gang, now),
            batch_cap=self._cap,
        )

    def _profile(self, bucket: str, items: int, gang: GangState, now: float) -> ClipProfile:
        least = gang.least_ranks.get(self._tier_key(bucket), 1) if gang.least_ranks else 1
        known = self._profiles.get((bucket, items, gang.num_ranks, least))
        if known is None or now - known.made_at > PROFILE_SECONDS:
            known = ClipProfile(self._costs, bucket, block_sizes(gang.num_ranks), items, now, least)
            self._profiles[bucket, items, gang.num_ranks, least] = known
            self._caps.pop(bucket, None)
        return known

    def _tier_key(self, bucket: str) -> str:
        if bucket not in self._tier_keys:
            key = ShapeKey.parse(bucket)
            self._tier_keys[bucket] = tier_key(key.resolution, key.duration)
        return self._tier_keys[bucket]

    def _cap(self, bucket: str) -> int:
        """Clips worth packing: as the limits allow, and as long as no clip was seen to take longer in a batch."""
        if bucket not in self._caps:
            most = self._limits.clips(bucket)
            self._caps[bucket] = batch_cap(self._costs, self._limits.served, bucket, most=most, min_gain=0.0)
        return self._caps[bucket]

    def _packs(self, task: QueuedTask) -> bool:
        return not task.deterministic and self._cap(task.bucket) > 1
