"""Whatever arrives and whenever boundaries come: plans are sound, work is conserved, and everything is made once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from deployment.scheduler.layout import FreeRanks
from deployment.scheduler.policy import Policy
from deployment.scheduler.profile import ClipProfile
from deployment.scheduler.scheduler import Scheduler
from deployment.scheduler.values import GangPlan, GangState
from hhray.blocks import Block, aligned_blocks, block_sizes
from hhray.tasks import Priority, QueuedTask
from loadtests.simulator.costs import CostTable
from loadtests.simulator.run import Simulation
from scheduler_cases import COST_TABLE, LARGE, LIMITS, MIDDLE, SMALL, task

POLICY = Policy(reserved={"a": 0.25}, weights={"b": 2.0})


class WatchedScheduler:
    """The shipped scheduler; every plan is checked against the state it answers."""

    def __init__(self, costs: CostTable) -> None:
        self.costs = costs
        self.inner = Scheduler(costs, POLICY, LIMITS)
        self.tasks: dict[str, QueuedTask] = {}
        self.started: set[str] = set()

    def add(self, tasks: list[QueuedTask]) -> None:
        self.tasks.update((one.task_id, one) for one in tasks)
        self.inner.add(tasks)

    def plan(self, gang: GangState, now: float) -> GangPlan:
        plan = self.inner.plan(gang, now)
        at_boundary = {batch.batch_id: batch for batch in gang.batches if not batch.busy}
        assert set(plan.blocks) == set(at_boundary)  # busy batches are not named, all others are
        self._check_blocks(gang, plan)
        self._check_starts(plan)
        for name, batch in at_boundary.items():
            if batch.pinned:
                assert plan.blocks[name] == batch.block
            if plan.blocks[name] is None and batch.block is not None:
                assert batch.pauses < POLICY.max_pauses
        self._check_work_conserved(gang, plan, now)
        return plan

    def _check_blocks(self, gang: GangState, plan: GangPlan) -> None:
        given = [start.block for start in plan.starts] + [block for block in plan.blocks.values() if block]
        assert set(given) <= set(aligned_blocks(gang.num_ranks))
        busy = [batch.block for batch in gang.batches if batch.busy and batch.block]
        ranks = [rank for block in [*given, *busy] for rank in block.ranks]
        assert len(ranks) == len(set(ranks))

    def _check_starts(self, plan: GangPlan) -> None:
        for start in plan.starts:
            assert {self.tasks[name].bucket for name in start.task_ids} == {start.bucket}
            assert not self.started & set(start.task_ids)
            self.started |= set(start.task_ids)
            if any(self.tasks[name].deterministic for name in start.task_ids):
                assert len(start.task_ids) == 1
                assert start.block.num_ranks == POLICY.deterministic_degree

    def _check_work_conserved(self, gang: GangState, plan: GangPlan, now: float) -> None:
        """A rank is idle only when whoever waits would hold it for too long, or waits a moment for a warm gang."""
        used = [start.block for start in plan.starts] + [block for block in plan.blocks.values() if block]
        used += [batch.block for batch in gang.batches if batch.busy and batch.block]
        idle = set(range(gang.num_ranks)) - {rank for block in used for rank in block.ranks}
        if not idle:
            return
        paused = [batch for batch in gang.batches if not batch.busy and plan.blocks[batch.batch_id] is None]
        waiting = [
            one
            for name, one in self.tasks.items()
            if name not in self.started and (one.bucket in gang.warm or now > one.submitted_at + POLICY.switch_seconds)
        ]
        widest = max(block.num_ranks for block in aligned_blocks(gang.num_ranks) if set(block.ranks) <= idle)
        left = [(one.bucket, 0, 1) for one in waiting] + [(b.bucket, b.units_done, len(b.task_ids)) for b in paused]
        for bucket, unit, items in left:
            profile = ClipProfile(self.costs, bucket, block_sizes(gang.num_ranks), items)
            assert profile.step(unit, widest) > POLICY.longest_step_seconds


class AnyDegree(CostTable):
    """The committed costs, on gangs whose ranks are not a power of two as well."""

    def unit_seconds(self, bucket: str, unit: int, degree: int, items: int = 1) -> float:
        near = max(power for power in (1, 2, 4, 8) if power <= degree)
        return super().unit_seconds(bucket, unit, near, items) * near / degree


arrivals = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.sampled_from([SMALL, "t2v/256P/16:9/15", "t2v/480P/16:9/5", MIDDLE, LARGE]),
        st.sampled_from("ab"),
        st.sampled_from(list(Priority)),
        st.sampled_from(["", "reserved", "deterministic", "urgent"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(arrivals=arrivals, ranks=st.sampled_from([1, 2, 3, 4, 6, 8]), gangs=st.integers(1, 2), seed=st.integers(0, 9))
def test_plans_are_sound_work_is_conserved_and_every_task_is_made_once(
    arrivals: list[tuple[float, str, str, Priority, str]], ranks: int, gangs: int, seed: int
) -> None:
    costs = AnyDegree(COST_TABLE._raw)
    watched = WatchedScheduler(costs)
    tasks = [
        task(
            str(number),
            bucket,
            at,
            tenant,
            deadline=at + 5 if kind == "urgent" else 0.0,
            priority=priority,
            reserved=kind == "reserved",
            deterministic=kind == "deterministic",
            sequence=number,
        )
        for number, (at, bucket, tenant, priority, kind) in enumerate(sorted(arrivals))
    ]
    simulation = Simulation(costs, watched, gangs, ranks, step_noise=0.2, seed=seed)
    record = simulation.run(tasks)
    assert sorted(one.task.task_id for one in record.ended) == sorted(one.task_id for one in tasks)
    assert watched.started == {one.task_id for one in tasks}
    assert len(watched.inner) == 0
    assert watched.inner.queued_gpu_seconds == 0.0


@settings(max_examples=100, deadline=None)
@given(ranks=st.integers(1, 8), data=st.data())
def test_the_allocator_gives_only_aligned_free_blocks(ranks: int, data: st.DataObject) -> None:
    free, given = FreeRanks(ranks), set[int]()
    for _ in range(8):
        most = data.draw(st.sampled_from([1, 2, 4, 8]))
        block = free.choose(most, data.draw(st.sampled_from([None, Block(0, 1)])), data.draw(st.booleans()))
        if block is None:
            assert len(given) == ranks
            return
        assert block in aligned_blocks(ranks)
        assert block.num_ranks <= most
        assert not given & set(block.ranks)
        free.take(block)
        given |= set(block.ranks)
        assert len(free) == ranks - len(given)
