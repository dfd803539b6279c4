"""What the OpenAI dialect and progress streams ask of a store: delete, pages by cursor, many at once, what waits."""

from __future__ import annotations

import threading

import pytest

from deployment.store.base import TaskFilter
from hhray.tasks import Artifact, Priority, Progress, TaskState


def test_an_ended_task_is_deleted_at_once_and_only_by_its_tenant(store, create, artifact):
    task = create()
    (claim,) = store.claim([task.task_id], "e", 60)
    assert store.publish(task.task_id, "e", claim.fence, artifact, {}, "")
    assert store.delete(task.task_id, "mallory") is None
    assert store.delete(task.task_id, "alice") is TaskState.SUCCEEDED
    assert store.get(task.task_id) is None
    assert store.delete(task.task_id, "alice") is None


def test_a_waiting_task_is_cancelled_then_gone_and_counted_once(store, create, events):
    task, other = create(), create()
    assert store.delete(task.task_id, "alice") is TaskState.PENDING
    assert store.get(task.task_id) is None
    assert store.claim([task.task_id, other.task_id], "e", 60)[0].task.task_id == other.task_id
    assert [waiting.task_id for waiting in store.queued()] == []
    assert events() == {"canceled": 1}


def test_a_deleted_task_whose_media_is_being_fetched_cannot_come_back(store, create, request_of):
    task = create(ready=False)
    assert store.claim_media("intake", 60)
    assert store.delete(task.task_id, "alice") is TaskState.PENDING
    assert not store.media_ready(task.task_id, "intake", request_of(), 1.0)
    assert store.claim_media("intake", 60) is None


def test_a_running_task_is_hidden_asked_to_stop_and_goes_when_it_has_ended(store, create, artifact, events):
    task = create(idempotency_key="order-7")
    (claim,) = store.claim([task.task_id], "e", 60)
    assert store.delete(task.task_id, "alice") is TaskState.RUNNING
    assert store.get(task.task_id, "alice") is None
    assert store.list_tasks(TaskFilter(tenant="alice")) == ([], 0)
    assert store.page("alice", None, 10, newest_first=True) == store.find([task.task_id]) == []
    assert not store.request_cancel(task.task_id, "alice")
    assert store.expire() == []  # it runs: its owner must be able to end it
    assert store.renew("e", 60, {task.task_id: Progress(0.5, "denoise")})[task.task_id].cancel_requested
    # a result that comes after all is dropped, as after any cancel
    assert store.publish(task.task_id, "e", claim.fence, artifact, {}, "") is None
    assert events() == {"canceled": 1}
    assert store.expire() == [(task.task_id, task.tenant)]
    assert store.get(task.task_id) is None


def test_a_deleted_running_task_frees_its_idempotency_key(store, create):
    task = create(idempotency_key="order-7")
    store.claim([task.task_id], "e", 60)
    assert create(idempotency_key="order-7").task_id == task.task_id
    store.delete(task.task_id, "alice")
    assert create(idempotency_key="order-7").task_id != task.task_id


def test_a_deleted_task_whose_engine_died_ends_and_goes(store, create):
    task = create()
    store.claim([task.task_id], "e", 0)
    store.delete(task.task_id, "alice")
    assert store.reap(3) == [(task.task_id, TaskState.CANCELED)]
    assert store.expire() == [(task.task_id, task.tenant)]


def test_delete_and_publish_at_once_leave_no_result(store, create):
    """Whoever comes first, the client never sees the task again."""
    for number in range(8):
        task = create()
        (claim,) = store.claim([task.task_id], "e", 60)
        barrier = threading.Barrier(2)

        def publish(task_id=task.task_id, fence=claim.fence, number=number, barrier=barrier):
            barrier.wait()
            store.publish(task_id, "e", fence, Artifact(f"clips/{number}", "ab", 1), {}, "")

        engine = threading.Thread(target=publish)
        engine.start()
        barrier.wait()
        assert store.delete(task.task_id, "alice") in (TaskState.RUNNING, TaskState.SUCCEEDED)
        engine.join()
        assert store.get(task.task_id, "alice") is None
        left = store.get(task.task_id)
        assert left is None or (left.state, left.artifact_key) == (TaskState.CANCELED, "")


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_by_cursor_show_every_task_once_also_when_some_come_and_go(store, create, newest_first):
    ids = [create().task_id for _ in range(7)]
    create(tenant="mallory")
    wanted = ids[::-1] if newest_first else ids
    seen, after = [], None
    while found := store.page("alice", after, 3, newest_first=newest_first):
        seen += [task.task_id for task in found]
        after = seen[-1]
        store.delete(seen[0], "alice")
    assert seen == wanted
    assert store.page("mallory", ids[3], 3, newest_first=newest_first) == []  # another tenant's id tells nothing


def test_many_tasks_are_found_at_once(store, create):
    ids = [create().task_id for _ in range(3)]
    assert {task.task_id for task in store.find([*ids, "gone"])} == set(ids)
    assert store.find([]) == []


def test_what_waits_is_in_order_and_what_runs_counts_by_what_is_left(store, create):
    first, second = create(priority=Priority.HIGH), create(tenant="bob", gpu_seconds=3.0)
    create(ready=False)
    running = create(gpu_seconds=8.0)
    store.claim([running.task_id], "e", 60)
    store.renew("e", 60, {running.task_id: Progress(0.25, "denoise")})
    waiting, left = store.waiting()
    assert [(one.task_id, one.tenant, one.priority, one.gpu_seconds) for one in waiting] == [
        (first.task_id, "alice", Priority.HIGH, 10.0),
        (second.task_id, "bob", Priority.STANDARD, 3.0),
    ]
    assert left == pytest.approx(6.0)
