"""What the scheduler orders tasks by comes back as it was given; learned costs; the hint that work has come."""

from __future__ import annotations

import threading
import time

import pytest

from hhray.errors import StoreUnavailable
from hhray.tasks import Priority, Progress


def test_priority_deadline_and_share_are_kept_and_handed_to_the_router(store, create):
    plain = create()
    urgent = create(
        clip={"deterministic": True}, deadline_seconds=12.5, priority=Priority.HIGH, reserved=True, gpu_seconds=3
    )
    first, second = store.queued()
    assert (first.deadline, first.priority, first.reserved, first.deterministic) == (
        0.0,
        Priority.STANDARD,
        False,
        False,
    )
    assert second.deadline == pytest.approx(urgent.submitted_at + 12.5, abs=1e-6)
    assert (second.priority, second.reserved, second.deterministic) == (Priority.HIGH, True, True)
    (claim,) = store.claim([urgent.task_id], "e", 100)
    assert (claim.task.deadline, claim.task.priority, claim.task.reserved) == (second.deadline, Priority.HIGH, True)
    assert store.get(plain.task_id).deadline == 0.0


def test_order_survives_media_intake_and_a_requeue(store, create, request_of):
    task_id = create(ready=False, deadline_seconds=5, priority=Priority.LOW, reserved=True).task_id
    store.claim_media("a", 100)
    store.media_ready(task_id, "a", request_of(deterministic=True), 4.0)
    (before,) = store.queued()
    assert (before.priority, before.reserved, before.deterministic) == (Priority.LOW, True, True)
    (claim,) = store.claim([task_id], "e", 100)
    store.release(task_id, "e", claim.fence)
    (after,) = store.queued(before.sequence)
    assert (after.deadline, after.priority, after.reserved) == (before.deadline, before.priority, before.reserved)


def test_learned_costs_are_replaced_class_by_class(store):
    assert store.costs() == {}
    store.save_costs({"b": '{"ratio": 1.5}', "a": "1"})
    store.save_costs({"a": "2"})
    store.save_costs({})
    assert store.costs() == {"a": "2", "b": '{"ratio": 1.5}'}


def test_one_renewal_reports_each_task_its_own_progress(store, create):
    ids = [create().task_id for _ in range(8)]
    store.claim(ids, "e", 100)
    store.request_cancel(ids[3], None)
    reports = {task_id: Progress(number / 8, f"stage {number}") for number, task_id in enumerate(ids)}
    views = store.renew("e", 100, {**reports, "gone": Progress(1.0, "mux")})
    assert [views[task_id].held for task_id in ids] == [True] * 8
    assert [task_id for task_id, view in views.items() if view.cancel_requested] == [ids[3]]
    assert not views["gone"].held
    assert [(store.get(task_id).progress, store.get(task_id).stage) for task_id in ids] == [
        (number / 8, f"stage {number}") for number in range(8)
    ]


def test_a_sleeper_is_woken_by_work_that_comes(store, create):
    seen = store.wait_for_work(0, 0.01)
    answers = []

    def sleep():
        start = time.monotonic()
        answers.append((store.wait_for_work(seen, 20.0), time.monotonic() - start))

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    time.sleep(0.2)
    create(ready=False)  # nobody can claim it yet
    time.sleep(0.1)
    assert sleeper.is_alive()
    create()
    sleeper.join(timeout=10)
    ((last, seconds),) = answers
    assert last == store.queued()[-1].sequence > seen
    assert seconds < 5


def test_a_sleeper_wakes_without_work_when_the_time_is_over_and_at_once_when_it_is_late(store, create):
    create()
    last = store.queued()[-1].sequence
    assert store.wait_for_work(last, 0.05) == last
    start = time.monotonic()
    assert store.wait_for_work(last - 1, 20.0) == last
    assert time.monotonic() - start < 5


def test_a_closed_store_wakes_nobody_later(store, create):
    create()
    store.close()
    with pytest.raises(StoreUnavailable):
        store.wait_for_work(0, 0.01)
