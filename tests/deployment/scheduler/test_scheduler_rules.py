"""Each rule in the smallest case that shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployment.scheduler.policy import Policy
from deployment.scheduler.values import Start
from hhray.blocks import Block
from scheduler_cases import COST_TABLE, LARGE, MIDDLE, REFINING, SMALL, batch, gang, scheduler, task

WHOLE = Block(0, 8)


def busy_gang(*free: int) -> list:
    """Eight ranks, each with a clip of its own but those named."""
    return [batch(f"busy-{rank}", block=Block(rank, 1), busy=True) for rank in range(8) if rank not in free]


def test_nothing_waiting_gives_an_empty_plan() -> None:
    assert scheduler().plan(gang(), 0.0).starts == ()


@pytest.mark.parametrize("bucket", [MIDDLE, LARGE])
def test_a_lone_request_gets_the_whole_idle_gang_at_once(bucket: str) -> None:
    plan = scheduler(task("one", bucket)).plan(gang(), 0.0)
    assert plan.starts == (Start(("one",), bucket, WHOLE),)


def test_no_more_ranks_than_are_efficient() -> None:
    waiting = scheduler(task("one"), *(task(f"t{n}", MIDDLE, sequence=n) for n in range(30)))
    first = waiting.plan(gang(), 0.0).starts
    assert all(start.block.num_ranks == 1 for start in first if start.bucket == SMALL)
    assert sum(start.block.num_ranks for start in first) == 8


def test_tasks_are_packed_only_when_there_are_more_than_free_ranks() -> None:
    few = scheduler(*(task(f"t{n}", sequence=n) for n in range(8))).plan(gang(), 0.0)
    assert {len(start.task_ids) for start in few.starts} == {1}
    late = 1000.0  # so late that packing harms nobody
    many = scheduler(*(task(f"t{n}", sequence=n) for n in range(32))).plan(gang(), late)
    assert sum(len(start.task_ids) for start in many.starts) > len(many.starts)
    assert max(len(start.task_ids) for start in many.starts) <= 4


def test_a_batch_is_of_one_shape_and_leaves_an_even_share_to_idle_gangs() -> None:
    other = "i2v/256P/16:9/3"
    tasks = [replace(task(f"{n}", deadline=100.0, sequence=n), bucket=(SMALL, other)[n % 2]) for n in range(6)]
    waiting = scheduler()
    for name in ("one", "two"):
        waiting.plan(gang(ranks=1, name=name), 0.0)
    waiting.add(tasks)
    first = waiting.plan(gang(ranks=1, name="one"), 5.0).starts
    assert [(start.task_ids, start.bucket) for start in first] == [(("0", "2", "4"), SMALL)]
    busy = batch("0", block=Block(0, 1), busy=True)
    waiting.plan(gang(busy, ranks=1, name="one"), 5.0)
    second = waiting.plan(gang(ranks=1, name="two"), 5.0).starts
    assert [(start.task_ids, start.bucket) for start in second] == [(("1", "3", "5"), other)]


def test_a_clip_that_fills_a_rank_runs_alone() -> None:
    waiting = scheduler(*(task(f"t{n}", "t2v/256P/16:9/10", sequence=n) for n in range(32)))
    assert {len(start.task_ids) for start in waiting.plan(gang(), 1000.0).starts} == {1}


def test_a_deterministic_task_runs_alone_on_its_fixed_number_of_ranks() -> None:
    waiting = scheduler(*(task(f"t{n}", deterministic=True, sequence=n) for n in range(32)))
    starts = waiting.plan(gang(), 1000.0).starts
    assert {(len(start.task_ids), start.block.num_ranks) for start in starts} == {(1, 1)}
    alone = scheduler(task("one", MIDDLE, deterministic=True)).plan(gang(), 0.0)
    assert alone.starts[0].block.num_ranks == 1


def test_a_pinned_batch_stays_where_it_is() -> None:
    pinned = batch("pinned", block=Block(2, 2), pinned=True, units_done=REFINING)
    plan = scheduler(*(task(f"t{n}", sequence=n) for n in range(20))).plan(gang(pinned), 0.0)
    assert plan.blocks == {"pinned": Block(2, 2)}
    assert all(set(start.block.ranks).isdisjoint({2, 3}) for start in plan.starts)


def test_an_urgent_task_demotes_a_long_clip_rather_than_pausing_it() -> None:
    long = batch("long", LARGE, block=WHOLE, units_done=REFINING)
    plan = scheduler(task("short", at=30.0)).plan(gang(long), 30.0)
    assert plan.because == {"long": "demoted"}
    assert plan.blocks["long"] == Block(0, 4)
    assert plan.starts[0].block.first >= 4


def test_a_long_clip_is_paused_when_no_block_is_left_and_resumed_on_any() -> None:
    long = batch("long", MIDDLE, block=Block(0, 1), units_done=REFINING)
    others = busy_gang(0)
    paused = scheduler(task("short", at=1.0)).plan(gang(long, *others), 1.0)
    assert (paused.blocks, paused.because) == ({"long": None}, {"long": "paused"})
    again = batch("long", MIDDLE, block=None, units_done=REFINING, pauses=1)
    resumed = scheduler().plan(gang(again, *busy_gang(5)), 2.0)
    assert (resumed.blocks, resumed.because) == ({"long": Block(5, 1)}, {"long": "resumed"})


@pytest.mark.parametrize(("units_done", "pauses"), [(17, 0), (REFINING, Policy().max_pauses)])
def test_a_clip_that_soon_ends_or_was_paused_often_is_not_paused(units_done: int, pauses: int) -> None:
    long = batch("long", MIDDLE, block=Block(0, 1), units_done=units_done, pauses=pauses)
    waiting = scheduler(task("short", at=1.0))
    plan = waiting.plan(gang(long, *busy_gang(0)), 1.0)
    assert plan.blocks == {"long": Block(0, 1)}
    assert len(waiting) == 1


def test_no_unit_holds_few_ranks_for_long_but_half_a_gang_is_always_enough() -> None:
    long_step = COST_TABLE.unit_seconds(LARGE, REFINING, 2)
    policy = Policy(longest_step_seconds=long_step - 1)
    waiting, rest = scheduler(task("large", LARGE), policy=policy), scheduler(policy=policy)
    paused = batch("paused", LARGE, block=None, units_done=REFINING)
    narrow = waiting.plan(gang(paused, *busy_gang(0, 1)), 0.0)
    assert narrow.blocks == {"paused": None}
    half = rest.plan(gang(paused, *busy_gang(0, 1, 2, 3)), 0.0)
    assert half.blocks == {"paused": Block(0, 4)}


def test_reserved_tasks_find_their_share_at_the_next_boundary_and_no_more() -> None:
    policy = Policy(reserved={"owner": 0.25})
    long = [batch(f"long-{n}", MIDDLE, block=Block(n, 1), units_done=REFINING, at=-1.0) for n in range(8)]
    tasks = [task(f"r{n}", LARGE, tenant="owner", reserved=True, sequence=n) for n in range(3)]
    waiting = scheduler(*tasks, policy=policy)
    plan = waiting.plan(gang(*long), 0.0)
    assert sum(start.block.num_ranks for start in plan.starts) == 2
    assert "r2" not in {name for start in plan.starts for name in start.task_ids}
    assert scheduler(*tasks).plan(gang(*long), 0.0).starts == ()  # without a share they wait: the others are due first


def test_on_demand_work_borrows_reserved_ranks_that_are_idle() -> None:
    policy = Policy(reserved={"owner": 0.5})
    plan = scheduler(task("one", MIDDLE), policy=policy).plan(gang(), 0.0)
    assert plan.starts[0].block == WHOLE


def test_reserved_ranks_are_counted_over_all_gangs() -> None:
    policy = Policy(reserved={"owner": 0.25})
    mine = batch("mine", MIDDLE, block=Block(0, 4), busy=True, tenant="owner", reserved=True, units_done=REFINING)
    waiting = scheduler(policy=policy)
    waiting.plan(gang(mine, name="first"), 0.0)
    long = batch("long", MIDDLE, block=Block(0, 1), units_done=REFINING, at=-30.0)
    waiting.add([task("more", MIDDLE, at=0.0, tenant="owner", reserved=True)])
    plan = waiting.plan(gang(long, *busy_gang(0), name="second"), 0.0)
    assert plan.starts == ()  # 4 of 16 ranks are used: the older clip goes on


def test_a_task_waits_a_moment_for_a_gang_that_has_run_its_shapes_but_not_under_backlog() -> None:
    waiting = scheduler()
    waiting.plan(gang(name="warm", warm=[SMALL]), 0.0)
    waiting.add([task("one")])
    assert waiting.plan(gang(name="cold"), 0.0).starts == ()
    assert len(waiting) == 1
    assert waiting.plan(gang(name="warm", warm=[SMALL]), 0.1).starts[0].task_ids == ("one",)
    waiting.add([task("two", at=0.2), *(task(f"t{n}", MIDDLE, at=0.2, sequence=n) for n in range(9))])
    assert any(start.task_ids == ("two",) for start in waiting.plan(gang(name="cold"), 0.2).starts)


def test_a_task_does_not_wait_for_a_warm_gang_longer_than_a_switch() -> None:
    waiting = scheduler()
    waiting.plan(gang(name="warm", warm=[SMALL]), 0.0)
    waiting.add([task("one")])
    assert waiting.plan(gang(name="cold"), Policy().switch_seconds).starts[0].task_ids == ("one",)


def test_a_gang_that_is_forgotten_is_not_waited_for() -> None:
    waiting = scheduler()
    waiting.plan(gang(name="warm", warm=[SMALL]), 0.0)
    waiting.forget("warm")
    waiting.add([task("one")])
    assert len(waiting.plan(gang(name="cold"), 0.0).starts) == 1


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_small_gangs(ranks: int) -> None:
    plan = scheduler(task("one", LARGE)).plan(gang(ranks=ranks), 0.0)
    assert plan.starts[0].block == Block(0, ranks)


def test_what_is_begun_has_left_the_queue() -> None:
    waiting = scheduler(task("one"), task("two", MIDDLE))
    assert waiting.queued_gpu_seconds == pytest.approx(
        COST_TABLE.alone_seconds(SMALL) + COST_TABLE.alone_seconds(MIDDLE)
    )
    waiting.plan(gang(), 0.0)
    assert (len(waiting), waiting.queued_gpu_seconds) == (0, 0.0)
    assert waiting.plan(gang(), 0.0).starts == ()


def test_no_more_batches_are_begun_than_the_gang_holds_tickets() -> None:
    made = scheduler(*(task(f"t{n}", LARGE, at=n / 100) for n in range(6)))
    plan = made.plan(replace(gang(), tickets=("one", "two")), now=0.1)
    assert [start.task_ids for start in plan.starts] == [("t0",), ("t1",)]
    assert len(made) == 4
    assert made.plan(replace(gang(ranks=2, name="other"), tickets=()), now=0.1).starts == ()


def test_a_clip_gets_the_ranks_whose_memory_it_needs_and_is_not_demoted_below() -> None:
    needs = {"1080P/15": 4}
    made = scheduler(task("large", LARGE), task("first", SMALL), task("second", SMALL))
    starts = {start.bucket: start.block for start in made.plan(replace(gang(), least_ranks=needs), now=0.0).starts}
    assert starts[LARGE].num_ranks >= 4
    large = batch("large", LARGE, Block(0, 4), units_done=REFINING)
    plan = made.plan(replace(gang(large), least_ranks=needs), now=1.0)
    assert plan.blocks["large"] is None or plan.blocks["large"].num_ranks >= 4
    everywhere = scheduler(task("large", LARGE)).plan(replace(gang(ranks=2), least_ranks={"1080P/15": 2}), now=0.0)
    assert [start.block.num_ranks for start in everywhere.starts] == [2]


def test_ranks_of_a_task_that_is_being_claimed_are_taken() -> None:
    claiming = replace(batch("claiming for ranks 0-3", "", Block(0, 4), busy=True), task_ids=())
    (start,) = scheduler(task("t")).plan(gang(claiming), now=0.0).starts
    assert set(start.block.ranks) <= {4, 5, 6, 7}


def test_a_clip_that_is_wanted_later_is_made_on_fewer_ranks_while_others_wait() -> None:
    patient = [task(f"p{n}", MIDDLE, deadline=1000.0) for n in range(3)]
    plan = scheduler(*patient, task("urgent", MIDDLE)).plan(gang(), now=0.0)
    ranks = {start.task_ids[0]: start.block.num_ranks for start in plan.starts}
    assert plan.starts[0].task_ids == ("urgent",) or ranks["urgent"] == max(ranks.values())


def test_every_late_task_is_put_behind_before_any_of_them_counts_as_on_time() -> None:
    """Else the tenant whose turn it is would be late before the others."""
    flood = [task(f"f{n}", MIDDLE, at=n / 100, tenant="flood") for n in range(6)]
    made, late = scheduler(*flood, task("small", MIDDLE, at=0.1, tenant="small")), 4 * COST_TABLE.alone_seconds(MIDDLE)
    first = [made.plan(gang(ranks=1, name=f"gang {n}"), late).starts[0].task_ids[0] for n in range(3)]
    assert first[:2] == ["f0", "small"]


def test_a_batch_makes_room_for_a_tenant_that_was_given_less_and_for_none_that_was_given_more() -> None:
    flood = [task(f"f{n}", MIDDLE, at=n / 100, tenant="flood") for n in range(6)]
    made = scheduler(*flood)
    for n in range(2):
        made.plan(gang(ranks=1, name=f"gang {n}"), now=0.1)
    made.add([task("small", MIDDLE, at=5.0, tenant="small")])
    running = batch("f0", MIDDLE, Block(0, 1), units_done=2, tenant="flood")
    plan = made.plan(gang(running, ranks=1), now=5.1)
    assert ([start.task_ids for start in plan.starts], plan.blocks) == ([("small",)], {"f0": None})
    small = batch("small", MIDDLE, Block(0, 1), units_done=2, at=5.0, tenant="small")
    stays = made.plan(gang(small, ranks=1, name="another"), now=6.0)
    assert (stays.starts, stays.blocks) == ((), {"small": Block(0, 1)})


def test_what_runs_counts_for_its_tenant_also_when_nothing_waited_in_between() -> None:
    made = scheduler(policy=Policy(packing=False))
    for n in range(2):  # each finds a gang of its own at once: the queue is empty after each
        made.add([task(f"f{n}", MIDDLE, at=n / 10, tenant="flood")])
        made.plan(gang(ranks=1, name=f"gang {n}"), now=n / 10)
    made.add([task(f"f{n}", MIDDLE, at=0.3, tenant="flood", sequence=n) for n in range(2, 6)])
    made.add([task("small", MIDDLE, at=1.0, tenant="small")])
    running = batch("f1", MIDDLE, Block(0, 1), units_done=1, tenant="flood")
    plan = made.plan(gang(running, ranks=1, name="gang 1"), now=1.1)
    assert ([start.task_ids for start in plan.starts], plan.blocks) == ([("small",)], {"f1": None})


def test_a_batch_that_took_a_place_is_not_paused_for_the_batch_it_took_it_from() -> None:
    made = scheduler(policy=Policy(packing=False))
    for name, tenant, at in (("f0", "flood", 0.0), ("f1", "flood", 0.1), ("small", "small", 1.0)):
        made.add([task(name, MIDDLE, at=at, tenant=tenant)])
        made.plan(gang(ranks=1, name=name), now=at)
    paused = batch("f1", MIDDLE, units_done=1, pauses=1, at=0.1, tenant="flood")
    running = batch("small", MIDDLE, Block(0, 1), units_done=1, at=1.0, tenant="small")
    assert made.plan(gang(paused, running, ranks=1), now=2.0).blocks == {"f1": None, "small": Block(0, 1)}
    early = batch("f1", MIDDLE, units_done=1, pauses=1, at=0.1, tenant="small")  # of the same tenant: first due first
    assert made.plan(gang(early, running, ranks=1), now=2.0).blocks == {"f1": Block(0, 1), "small": None}


def test_when_nothing_waits_or_runs_all_start_even_again() -> None:
    made = scheduler(*[task(f"a{n}", MIDDLE, tenant="a", sequence=n) for n in range(3)])
    for n in range(3):
        made.plan(gang(ranks=1, name="gang"), now=float(n))
    made.plan(gang(ranks=1, name="gang"), now=100.0)  # at rest
    made.add([task("a3", MIDDLE, at=200.0, tenant="a"), task("b0", "t2v/720P/9:16/5", at=201.0, tenant="b")])
    assert [start.task_ids for start in made.plan(gang(ranks=1), now=201.0).starts] == [("a3",)]
