"""A tenant's tasks that run at once: no plan begins more, over all gangs, and the others are not held up."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from deployment.scheduler.policy import Policy
from deployment.scheduler.scheduler import Scheduler
from hhray.blocks import Block
from hhray.tasks import Priority
from scheduler_cases import LARGE, MIDDLE, SMALL, batch, gang, scheduler, task

CAPPED = Policy(most_running={"capped": 2})


def flood(tenant: str, count: int, bucket: str = SMALL, **values: object) -> list:
    return [task(f"{tenant}{n}", bucket, tenant=tenant, sequence=n, **values) for n in range(count)]


def begun(plan) -> list[str]:
    return [name for start in plan.starts for name in start.task_ids]


def test_no_more_are_begun_than_may_run_and_others_get_the_rest() -> None:
    tasks = [*flood("capped", 20), *flood("other", 6)]
    names = begun(scheduler(*tasks, policy=CAPPED).plan(gang(), 0.0))
    assert sum(name.startswith("capped") for name in names) == 2
    assert sum(name.startswith("other") for name in names) == 2  # all that is left, in blocks of two
    names = begun(scheduler(*tasks).plan(gang(), 0.0))
    assert sum(name.startswith("capped") for name in names) > 2


def test_a_place_is_free_when_the_gang_no_longer_has_the_task() -> None:
    waiting = scheduler(*flood("capped", 5), policy=CAPPED)
    first = waiting.plan(gang(), 0.0)
    assert begun(first) == ["capped0", "capped1"]
    running = [
        batch(name, SMALL, start.block, busy=True, tenant="capped") for start in first.starts for name in start.task_ids
    ]
    assert begun(waiting.plan(gang(*running), 0.1)) == []
    assert begun(waiting.plan(gang(running[1]), 0.1)) == ["capped2"]
    assert begun(waiting.plan(gang(), 0.1)) == ["capped3", "capped4"]


def test_tasks_that_are_being_claimed_count_for_the_tenant_they_are_of() -> None:
    waiting = scheduler(*flood("capped", 5), policy=CAPPED)
    first = waiting.plan(gang(), 0.0)
    claiming = [replace(batch(s.task_ids[0], "", s.block, busy=True), tenant="") for s in first.starts]
    assert begun(waiting.plan(gang(*claiming), 0.1)) == []


def test_places_are_counted_over_all_gangs_and_a_dead_gang_frees_its_own() -> None:
    waiting = scheduler(*flood("capped", 9), policy=CAPPED)
    one = gang(batch("far", SMALL, Block(0, 1), busy=True, tenant="capped"), ranks=1, name="one")
    waiting.plan(one, 0.0)
    assert begun(waiting.plan(gang(name="two"), 0.0)) == ["capped0"]
    waiting.forget("one")
    running = batch("capped0", SMALL, Block(0, 8), busy=False, tenant="capped")
    assert begun(waiting.plan(gang(running, name="two"), 0.1)) == ["capped1"]


def test_a_packed_batch_holds_no_more_of_a_tenant_than_may_run() -> None:
    mixed = [*flood("capped", 16), *flood("other", 16)]
    names = begun(scheduler(*mixed, policy=CAPPED).plan(gang(), 1000.0))
    assert sum(name.startswith("capped") for name in names) == 2
    packed = batch("both", SMALL, Block(0, 1), busy=True)
    both = replace(packed, task_ids=("a", "b", "c"), tenants=("capped", "other", "capped"))
    full = scheduler(*flood("capped", 3), policy=CAPPED)
    assert begun(full.plan(gang(both), 0.0)) == []


def test_reserved_tasks_and_every_priority_count() -> None:
    policy = replace(CAPPED, reserved={"capped": 1.0})
    tasks = [
        *flood("capped", 2, MIDDLE, reserved=True),
        task("high", tenant="capped", priority=Priority.HIGH),
        task("low", tenant="capped", priority=Priority.LOW),
    ]
    assert len(begun(scheduler(*tasks, policy=policy).plan(gang(), 0.0))) == 2


def test_a_default_cap_is_each_tenants_own_and_zero_is_none() -> None:
    policy = Policy(default_most_running=1, most_running={"free": 0})
    waiting = scheduler(*flood("a", 5), *flood("b", 5), *flood("free", 5), policy=policy)
    counts = Counter(name[:-1] for name in begun(waiting.plan(gang(), 0.0)))
    assert counts["a"] == counts["b"] == 1
    assert counts["free"] == 2


def test_what_a_tenant_cannot_begin_makes_nobody_narrower() -> None:
    policy = Policy(most_running={"capped": 1})
    alone = scheduler(*flood("capped", 1, LARGE)).plan(gang(), 0.0)
    behind = scheduler(*flood("capped", 500, LARGE), policy=policy).plan(gang(), 0.0)
    assert [start.block for start in behind.starts] == [start.block for start in alone.starts] == [Block(0, 8)]


def test_late_tasks_are_capped_too() -> None:
    waiting = scheduler(*flood("capped", 9, MIDDLE), policy=CAPPED)
    assert len(begun(waiting.plan(gang(), 10_000.0))) == 2


@pytest.mark.parametrize("seed", range(3))
def test_random_histories_never_exceed_a_cap_and_leave_nothing_behind(seed: int) -> None:
    chance = random.Random(seed)
    policy = Policy(most_running={"a": 1, "b": 3}, default_most_running=2)
    tasks = [
        task(f"t{n}", chance.choice([SMALL, SMALL, MIDDLE]), tenant=chance.choice("abcd"), sequence=n)
        for n in range(120)
    ]
    tenant_of = {one.task_id: one.tenant for one in tasks}
    waiting, done, now = scheduler(*tasks, policy=policy), set(), 0.0
    running = {"one": [], "two": []}
    for _ in range(5000):
        if len(done) == len(tasks):
            break
        name, now = chance.choice(["one", "two"]), now + 0.2
        kept = [one for one in running[name] if chance.random() < 0.7]
        done |= {task_id for one in running[name] if one not in kept for task_id in one.task_ids}
        plan = waiting.plan(gang(*kept, ranks=4, name=name), now)
        new = [
            replace(batch(start.task_ids[0], start.bucket, start.block, busy=True), task_ids=start.task_ids, tenant="")
            for start in plan.starts
        ]
        running[name] = kept + new
        counts = Counter(tenant_of[t] for batches in running.values() for one in batches for t in one.task_ids)
        assert all(count <= {"a": 1, "b": 3}.get(tenant, 2) for tenant, count in counts.items())
    assert len(done) == len(tasks)
    assert (len(waiting), held(waiting)) == (0, (0, 0.0))


def held(waiting: Scheduler) -> tuple[int, float]:
    caps = waiting._waiting.caps
    return caps.held_tasks, caps.held_gpu_seconds
