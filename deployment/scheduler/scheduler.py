"""Scheduler: the router's decisions, from the queue and the state of a gang to what the gang does next."""

from __future__ import annotations

from collections.abc import Iterable

from deployment.scheduler.clips import Clip
from deployment.scheduler.degrees import is_too_slow, wanted, widest
from deployment.scheduler.fair_queue import Waiting
from deployment.scheduler.layout import FreeRanks
from deployment.scheduler.limits import BatchLimits
from deployment.scheduler.policy import Policy
from deployment.scheduler.profile import ClipProfile
from deployment.scheduler.values import GangPlan, GangState, RunningBatch, Start, UnitCosts
from deployment.scheduler.waiting import Tier, View, WaitingTasks
from hhray.blocks import Block, block_sizes
from hhray.tasks import QueuedTask

PROFILE_SECONDS = 30.0
LATE_DEGREE = 4


class Scheduler:
    def __init__(self, costs: UnitCosts, policy: Policy, limits: BatchLimits) -> None:
        self._costs, self._policy, self._limits = costs, policy, limits
        self._waiting = WaitingTasks(policy, self._packs)
        self._gangs: dict[str, GangState] = {}
        self._profiles: dict[tuple[str, int, int], ClipProfile] = {}
        self._caps: dict[str, int] = {}
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def queued_gpu_seconds(self) -> float:
        return self._waiting.gpu_seconds

    def add(self, tasks: Iterable[QueuedTask]) -> None:
        self._waiting.add(tasks)

    def discard(self, task_id: str) -> None:
        self._waiting.discard(task_id)

    def replace(self, tasks: Iterable[QueuedTask]) -> None:
        self._waiting.replace(tasks)

    def forget(self, engine_id: str) -> None:
        self._gangs.pop(engine_id, None)

    def _packs(self, task: QueuedTask) -> bool:
        return not task.deterministic and self._cap(task.bucket) > 1

    def _cap(self, bucket: str) -> int:
        if bucket not in self._caps:
            self._caps[bucket] = self._limits.clips(bucket)
        return self._caps[bucket]

    def profile(self, bucket: str, num_ranks: int, items: int = 1) -> ClipProfile:
        key = (bucket, num_ranks, items)
        known = self._profiles.get(key)
        if known is None or self._now - known.made_at > PROFILE_SECONDS:
            known = self._profiles[key] = ClipProfile(
                self._costs, bucket, block_sizes(num_ranks), items, self._now
            )
        return known

    def _backlog(self, now) -> float:
        left = ranks = 0.0
        for gang in self._gangs.values():
            ranks += gang.num_ranks
            for batch in gang.batches:
                left += self.profile(batch.bucket, gang.num_ranks, len(batch.task_ids)).left(batch.units_done, 1)
        return (left + self._waiting.gpu_seconds) / max(1.0, ranks)

    def plan(self, gang: GangState, now: float) -> GangPlan:
        self._now = now
        self._gangs[gang.engine_id] = gang
        d = Decision(self, gang, now)
        return d.run()


class Decision:
    def __init__(self, s: Scheduler, gang: GangState, now: float):
        self.s, self.gang, self.now = s, gang, now
        self.policy = s._policy
        self.W = gang.num_ranks
        self.backlog = s._backlog(now)
        self.blocks: dict[str, Block | None] = {}
        self.free = FreeRanks(self.W, (b.block for b in gang.batches if b.block and b.busy))
        self.aged_room = max(1, int(self.policy.aged_share * self.W))
        self.movable = []
        for b in gang.batches:
            if b.busy:
                if self.age(b): self.aged_room -= b.block.num_ranks
                continue
            if b.pinned and b.block is not None:
                self.blocks[b.batch_id] = b.block
                self.free.take(b.block)
            else:
                self.movable.append(self.clip_of(b))

    def age(self, b):
        p = self.s.profile(b.bucket, self.W, 1)
        return self.now >= b.submitted_at + self.policy.aging_multiple * p.alone

    def clip_of(self, b: RunningBatch) -> Clip:
        pol = self.policy
        prof = self.s.profile(b.bucket, self.W, len(b.task_ids))
        a = prof.alone
        last = max(b.deadline, b.submitted_at + pol.deadline_multiple * a)
        due = min(b.deadline or last, b.submitted_at + a + pol.slack_cap_seconds)
        short = prof.step(0, 1) == 0 or prof.long_units_left(0, pol.long_step_seconds) < 2
        target = b.submitted_at + a * (pol.short_target_multiple if short else pol.target_multiple)
        tier = Tier.ON_TIME
        if prof.long_units_left(b.units_done, pol.long_step_seconds) < 2 or b.pauses >= pol.max_pauses:
            tier = Tier.KEPT
        elif self.age(b):
            tier = Tier.AGED
        elif self.now + prof.best_left(b.units_done, LATE_DEGREE) > last:
            tier = Tier.LATE
        return Clip(tier, due, b.bucket, prof, target, last, b.units_done, b.block, b.batch_id, (), b.tenant, b.reserved, 0, short)

    def clip_of_task(self, tier, w: Waiting) -> Clip:
        pol = self.policy
        t = w.task
        prof = self.s.profile(t.bucket, self.W, 1)
        a = t.gpu_seconds
        short = prof.long_units_left(0, pol.long_step_seconds) < 2
        target = t.submitted_at + a * (pol.short_target_multiple if short else pol.target_multiple)
        return Clip(tier, w.due, t.bucket, prof, target, pol.last_end(t), 0, None, "", (w,), t.tenant, t.reserved,
            pol.deterministic_degree if t.deterministic else 0, short)

    def run(self) -> GangPlan:
        s, pol, now = self.s, self.policy, self.now
        self.movable.sort(key=lambda c: c.order)
        chosen: list[Clip] = []
        passed: list[Waiting] = []
        room = len(self.free)
        total = room
        i = 0
        n_cand = len(self.movable) + len(s._waiting)
        while room > 0:
            view = View(now, lambda t: s.profile(t.bucket, self.W).best_left(0, LATE_DEGREE), self.aged_room > 0, lambda t: False)
            mine = self.movable[i] if i < len(self.movable) else None
            if mine is not None and mine.tier == Tier.AGED and self.aged_room <= 0:
                mine.tier = Tier.LATE
                self.movable[i:] = sorted(self.movable[i:], key=lambda c: c.order)
                continue
            head = s._waiting.head(view)
            if head is None and mine is None:
                break
            if mine is None or (head is not None and (head[0], head[1].due) < mine.order):
                clip = self.clip_of_task(*head)
                s._waiting.take(head[1])
            else:
                clip = mine
                i += 1
            share = total / max(1, n_cand)
            degree = wanted(clip, pol, self.backlog, now, share)
            if clip.tier == Tier.AGED:
                degree = min(degree, self.aged_room)
            fit = max(d for d in clip.profile.degrees if d <= min(degree, room))
            if fit < degree and (is_too_slow(clip, fit, pol) and clip.tier != Tier.AGED):
                if clip.tasks: passed.append(clip.tasks[0])
                if len(passed) > 8: break
                continue
            clip.degree = fit
            if clip.tier == Tier.AGED: self.aged_room -= fit
            room -= fit
            chosen.append(clip)
        # place
        for clip in sorted(chosen, key=lambda c: -c.degree):
            clip.placed = self.free.choose(clip.degree, clip.own, clip.short)
            if clip.placed is None or (clip.placed.num_ranks < clip.degree and is_too_slow(clip, clip.placed.num_ranks, pol) and clip.tier != Tier.AGED):
                clip.placed = None
                if clip.tasks: passed.append(clip.tasks[0])
                continue
            self.free.take(clip.placed)
        live = [c for c in chosen if c.placed]
        self.grow(live)
        starts = []
        because = {}
        for clip in live:
            if clip.tasks:
                starts.append(Start(tuple(w.task.task_id for w in clip.tasks), clip.bucket, clip.placed))
        for clip in self.movable:
            self.blocks[clip.batch_id] = clip.placed
        for w in passed: s._waiting.put_back(w)
        s._waiting.settle()
        return GangPlan(tuple(starts), self.blocks, because)

    def grow(self, live):
        while len(self.free):
            best = None
            for clip in live:
                if clip.tier == Tier.AGED: continue
                b = clip.placed
                ds = [d for d in clip.profile.degrees if d > b.num_ranks]
                if clip.fixed_degree or not ds: continue
                d = ds[0]
                if d > widest(clip, self.policy, self.backlog): continue
                nb = Block(b.first // d * d, d)
                self.free.give(b)
                ok = self.free.has(nb)
                self.free.take(b)
                if ok and (best is None or clip.step(b.num_ranks) > best[0]):
                    best = (clip.step(b.num_ranks), clip, nb)
            if best is None: return
            _, clip, nb = best
            clip.placed = nb
            self.free.take(nb)
