"""Deficit round robin over tenants, earliest due first inside a round."""

from __future__ import annotations

from collections import Counter

from deployment.scheduler.policy import Policy
from deployment.scheduler.waiting import View, WaitingTasks
from hhray.tasks import Priority, QueuedTask
from scheduler_cases import COST_TABLE, MIDDLE, SMALL, task

QUANTUM = 2 * COST_TABLE.alone_seconds(SMALL)
POLICY = Policy(quantum_seconds=QUANTUM)


def queue(*tasks: QueuedTask, policy: Policy = POLICY) -> WaitingTasks:
    made = WaitingTasks(policy, lambda _: False)
    made.add(tasks)
    return made


def served(waiting: WaitingTasks, count: int, now: float = 0.0, room_for_aged: bool = True) -> list[str]:
    """The next tasks in the order in which they are given out; a clip takes no time."""
    names = []
    for _ in range(count):
        head = waiting.head(View(now, lambda _: 0.0, room_for_aged, lambda _: False))
        if head is None:
            break
        names.append(head[1].task.task_id)
        waiting.take(head[1])
        waiting.settle(at_rest=True)
    return names


def flood(tenant: str, count: int, at: float = 0.0, priority: Priority = Priority.STANDARD) -> list[QueuedTask]:
    return [task(f"{tenant}{n}", at=at, tenant=tenant, priority=priority, sequence=n) for n in range(count)]


def test_inside_a_round_the_earliest_due_goes_first_whoever_asked() -> None:
    late, urgent = task("late", at=0, tenant="a"), task("urgent", at=1, tenant="b", deadline=2.0)
    assert served(queue(late, urgent), 2) == ["urgent", "late"]


def test_a_flood_of_one_tenant_delays_another_by_a_quantum_only() -> None:
    waiting = queue(*flood("flood", 100), *flood("small", 3, at=1.0))
    assert [name for name in served(waiting, 12) if name.startswith("small")] == ["small0", "small1", "small2"]


def test_tenants_with_much_waiting_are_served_by_weight() -> None:
    waiting = queue(*flood("a", 100), *flood("b", 100), policy=Policy(quantum_seconds=QUANTUM, weights={"b": 3.0}))
    counts = Counter(name[0] for name in served(waiting, 40))
    assert counts == {"a": 10, "b": 30}


def test_a_priority_is_a_weight() -> None:
    waiting = queue(*flood("h", 100, priority=Priority.HIGH), *flood("s", 100))
    counts = Counter(name[0] for name in served(waiting, 50))
    assert counts == {"h": 40, "s": 10}


def test_a_newcomer_brings_no_credit_from_the_time_it_asked_for_nothing() -> None:
    waiting = queue(*flood("old", 100))
    served(waiting, 40)
    waiting.add(flood("new", 100))
    counts = Counter(name[:3] for name in served(waiting, 20))
    assert abs(counts["new"] - counts["old"]) <= 2 * QUANTUM / COST_TABLE.alone_seconds(SMALL)


def test_a_large_clip_is_charged_by_its_gpu_seconds() -> None:
    waiting = queue(*flood("small", 100), *(task(f"L{n}", MIDDLE, tenant="large", sequence=n) for n in range(20)))
    names = served(waiting, 40)
    given = Counter(name[0] for name in names)
    ratio = given["L"] * COST_TABLE.alone_seconds(MIDDLE) / (given["s"] * COST_TABLE.alone_seconds(SMALL))
    assert 0.5 < ratio < 2.0


def test_what_was_discarded_or_put_back_is_as_if_it_never_had_been() -> None:
    waiting = queue(*flood("a", 3))
    waiting.discard("a0")
    waiting.discard("unknown")
    head = waiting.head(View(0.0, lambda _: 0.0, True, lambda _: False))
    assert head is not None
    waiting.take(head[1])
    waiting.put_back(head[1])
    assert len(waiting) == 2
    assert served(waiting, 3) == ["a1", "a2"]
    assert (len(waiting), waiting.gpu_seconds) == (0, 0.0)


def test_a_reconciliation_keeps_places_and_forgets_what_is_gone() -> None:
    waiting = queue(*flood("a", 3))
    waiting.replace([*flood("a", 2), task("b", at=-1.0)])
    assert served(waiting, 5) == ["b", "a0", "a1"]


def test_a_late_task_waits_behind_all_others_until_it_is_old() -> None:
    alone = COST_TABLE.alone_seconds(SMALL)
    fresh_at = 4 * alone
    waiting = queue(task("late", at=0), task("fresh", at=fresh_at, sequence=9))
    assert served(waiting, 1, now=fresh_at) == ["fresh"]
    assert served(waiting, 1, now=fresh_at) == ["late"]
    old = queue(task("late", at=0), task("fresh", at=9 * alone, sequence=9))
    served_late = old.head(View(4 * alone, lambda _: 0.0, True, lambda _: False))  # found to be late
    assert served_late is not None
    assert served(old, 2, now=9 * alone) == ["late", "fresh"]


def test_without_room_for_old_tasks_they_stay_behind() -> None:
    alone = COST_TABLE.alone_seconds(SMALL)
    waiting = queue(task("late", at=0), task("fresh", at=9 * alone, sequence=9))
    assert served(waiting, 2, now=9 * alone, room_for_aged=False) == ["fresh", "late"]
