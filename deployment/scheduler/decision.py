"""One decision: who of those at a boundary and of those that wait runs next on a gang's free ranks, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployment.scheduler.clips import Clip, Tier, clip_of_batch, clip_of_task
from deployment.scheduler.degrees import Degrees, fitting
from deployment.scheduler.fair_queue import Waiting
from deployment.scheduler.layout import FreeRanks
from deployment.scheduler.policy import Policy
from deployment.scheduler.profile import ClipProfile
from deployment.scheduler.turns import Turns
from deployment.scheduler.values import GangPlan, GangState, RunningBatch, Start
from deployment.scheduler.waiting import View, WaitingTasks
from hhray.blocks import Block

# Waiting tasks that one decision passes over: they need wider blocks than are free, or have a better gang.
MOST_PASSED = 8


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a decision knows besides gang and queue. Seconds of work per rank (`backlog`); ranks idle in other gangs;
    each tenant's reserved ranks that are not in use; whether a task should wait for a gang that has run its shapes."""

    policy: Policy
    now: float
    backlog: float
    idle_elsewhere: int
    owned_left: dict[str, int]
    better_elsewhere: Callable[[Waiting], bool]
    profile: Callable[[str, int], ClipProfile]
    batch_cap: Callable[[str], int]


class Decision:
    """`plan` is called once. Clips are chosen in order and get the ranks they want; then blocks are placed, the largest
    first; then blocks grow into what is left over."""

    def __init__(self, gang: GangState, waiting: WaitingTasks, around: Surroundings) -> None:
        self._gang, self._waiting, self._around = gang, waiting, around
        self._policy = around.policy
        self._degrees = Degrees(around.policy, around.now, around.backlog)
        self._stay = {b.batch_id: b.block for b in gang.batches if b.pinned and b.block is not None and not b.busy}
        busy = [b.block for b in gang.batches if b.busy and b.block is not None]
        self._free = FreeRanks(gang.num_ranks, [*busy, *self._stay.values()])
        self._aged_left = max(1, int(around.policy.aged_share * gang.num_ranks)) - self._aged_ranks()
        self._batches = [self._clip(b) for b in gang.batches if not b.busy and b.batch_id not in self._stay]
        self._turns = Turns(waiting, around.policy.quantum_seconds)
        self._undecided = list(self._batches)
        self._passed: list[Waiting] = []
        # starts are bounded by the tickets the gang holds
        self._starts_left = len(waiting) if gang.tickets is None else len(gang.tickets)
        self._tasks_per_rank = -(-waiting.open_tasks // max(1, len(self._free) + around.idle_elsewhere))

    def plan(self) -> GangPlan:
        """Decide; what is begun has left the queue."""
        placed: list[Clip] = []
        while chosen := self._choose():
            placed += self._place(chosen)
        self._grow(placed)
        for waiting in self._passed:
            self._waiting.put_back(waiting)
        self._waiting.caps.started(self._gang.engine_id, (one.task for clip in placed for one in clip.tasks))
        starts = [
            Start(tuple(one.task.task_id for one in clip.tasks), clip.bucket, clip.placed)
            for clip in placed
            if clip.tasks and clip.placed
        ]
        return GangPlan(
            starts=tuple(starts),
            blocks={**self._stay, **{clip.batch_id: clip.placed for clip in self._batches}},
            because={clip.batch_id: why for clip in self._batches if (why := _why(clip))},
        )

    # --- who

    def _choose(self) -> list[Clip]:
        """Clips in order, each with the number of ranks it shall have, until the free ranks are used up.

        Of the free ranks one is set aside for each kept clip whose turn has not come.
        """
        room, kept = len(self._free), sum(clip.kept for clip in self._undecided)
        share = room / max(1, len(self._undecided) + self._waiting.open_tasks)
        chosen: list[Clip] = []
        while room > 0 and (clip := self._next(room > kept)) is not None:
            kept -= clip.kept
            degree = self._degree(clip, share, room - kept)
            if degree:
                clip.degree = degree
                self._pack(clip, degree)
                self._use_share(clip, degree)
                room -= degree
                chosen.append(clip)
            else:
                self._pass_over(clip)
        return chosen

    def _next(self, others: bool) -> Clip | None:
        """The first of the batches at a boundary and the queue; without `others` the first kept batch."""
        if not others:
            return self._next_kept()
        around = self._around
        batch = self._turns.first(self._undecided)
        if batch is not None and (tier := self._tier_by_share(batch)) != batch.tier:
            batch.tier = tier
            return self._next(others)
        head = self._head() if self._starts_left and len(self._passed) < MOST_PASSED else None
        if head is not None and (batch is None or self._turns.goes_before(*head, batch)):
            tier, waiting = head
            self._waiting.take(waiting)
            self._starts_left -= 1
            return clip_of_task(waiting, tier, around.profile(waiting.task.bucket, 1), self._policy)
        if batch is not None:
            self._undecided.remove(batch)
        return batch

    def _head(self) -> tuple[Tier, Waiting] | None:
        """The first of the queue."""
        around = self._around
        return self._waiting.head(
            View(
                around.now,
                lambda bucket: around.profile(bucket, 1).best_left(0, self._policy.late_degree),
                self._aged_left > 0,
                lambda tenant: around.owned_left.get(tenant, 0) > 0,
            )
        )

    def _next_kept(self) -> Clip | None:
        clip = self._turns.first(clip for clip in self._undecided if clip.kept)
        if clip is not None:
            self._undecided.remove(clip)
        return clip

    def _tier_by_share(self, clip: Clip) -> Tier:
        """A batch's tier as long as its share has room: its tenant's reserved ranks, or those for old clips."""
        if clip.reserved and self._around.owned_left.get(clip.tenant, 0) > 0:
            return Tier.RESERVED
        if clip.tier in (Tier.LATE, Tier.AGED):
            return Tier.AGED if clip.due <= self._around.now and self._aged_left > 0 else Tier.LATE
        return Tier.ON_TIME

    # --- on how many ranks

    def _degree(self, clip: Clip, share: float, room: int) -> int:
        """Ranks for a clip when so many are left; 0: it is passed over."""
        if clip.tasks and self._around.better_elsewhere(clip.tasks[0]):
            return 0
        wanted = self._degrees.wanted(clip, share)
        if clip.tier is Tier.AGED:
            wanted = min(wanted, self._aged_left)
        if clip.tier is Tier.RESERVED:
            wanted = min(wanted, self._around.owned_left[clip.tenant])
        degree = fitting(clip, min(wanted, room))
        return 0 if degree > max(1, room) or self._is_unfit(clip, degree) else degree

    def _is_unfit(self, clip: Clip, degree: int) -> bool:
        """Whether a clip may not run on so many ranks. Old clips may run slowly: it is that or waiting for longer."""
        if degree < clip.profile.degrees[0]:
            return True
        if clip.fixed_degree:
            return degree != fitting(clip, clip.fixed_degree)
        return clip.tier not in (Tier.AGED, Tier.RESERVED) and self._degrees.is_too_slow(clip, degree)

    def _pack(self, clip: Clip, degree: int) -> None:
        """Tasks of the same bucket join, when there are more tasks than free ranks, and all can still be in time."""
        if not self._policy.packing or not clip.tasks or clip.fixed_degree:
            return
        most = min(self._around.batch_cap(clip.bucket), self._tasks_per_rank)
        while most > 1 and not self._ends_in_time(clip, degree, most):
            most -= 1
        companions = self._waiting.take_companions(clip.bucket, most - 1)
        if companions:
            clip.tasks = (*clip.tasks, *companions)
            clip.profile = self._around.profile(clip.bucket, len(clip.tasks))

    def _ends_in_time(self, clip: Clip, degree: int, items: int) -> bool:
        """Whether a batch of so many is not late, if its first clip alone would not be."""
        alone = self._around.now + clip.left(degree)
        together = self._around.now + self._around.profile(clip.bucket, items).left(0, degree)
        return together <= clip.last_end or alone > clip.last_end

    def _use_share(self, clip: Clip, degree: int) -> None:
        if clip.tier is Tier.AGED:
            self._aged_left -= degree
        if clip.reserved and clip.tenant in self._around.owned_left:
            self._around.owned_left[clip.tenant] -= degree

    def _pass_over(self, clip: Clip) -> None:
        self._passed += clip.tasks
        self._starts_left += bool(clip.tasks)

    # --- where

    def _place(self, chosen: list[Clip]) -> list[Clip]:
        """Give blocks, the largest first. Who finds only a block on which it may not run is passed over."""
        placed = []
        for clip in sorted(chosen, key=lambda clip: -clip.degree):
            block = self._free.choose(clip.degree, clip.own, from_above=clip.short)
            if block is None or self._is_unfit(clip, block.num_ranks):
                self._pass_over(clip)
            else:
                clip.placed, clip.degree = block, block.num_ranks
                self._free.take(block)
                placed.append(clip)
        return placed

    def _grow(self, placed: list[Clip]) -> None:
        """Leftovers: widen the block of the longest unit as far as is efficient, until no block can be widened."""
        while len(self._free):
            wider = [(clip, block) for clip in placed if (block := self._wider(clip))]
            if not wider:
                return
            clip, block = max(wider, key=lambda one: one[0].step(one[0].degree))
            clip.placed, clip.degree = block, block.num_ranks
            self._free.take(block)

    def _wider(self, clip: Clip) -> Block | None:
        """The next larger block around a clip's own, if its other ranks are free and it is worth it."""
        own = clip.placed
        if own is None or clip.tier is Tier.AGED:
            return None
        degree = next((wide for wide in clip.profile.degrees if wide > own.num_ranks), None)
        if degree is None or degree > self._degrees.widest(clip):
            return None
        return self._free.around(own, degree)

    # --- batches

    def _clip(self, batch: RunningBatch) -> Clip:
        profile = self._around.profile(batch.bucket, len(batch.task_ids))
        return clip_of_batch(batch, profile, self._policy, self._around.now)

    def _aged_ranks(self) -> int:
        """Ranks that old clips hold at this instant."""
        return sum(
            batch.block.num_ranks
            for batch in self._gang.batches
            if batch.busy
            and batch.block is not None
            and batch.bucket  # else its task is being claimed
            and self._around.now
            >= self._policy.aged_at(batch.submitted_at, self._around.profile(batch.bucket, 1).alone)
        )


def _why(clip: Clip) -> str:
    """Why a batch does not go on where it was."""
    if clip.placed is None:
        return "paused" if clip.own is not None else ""
    if clip.own is None:
        return "resumed"
    if clip.placed.num_ranks < clip.own.num_ranks:
        return "demoted"
    return "promoted" if clip.placed.num_ranks > clip.own.num_ranks else ""
