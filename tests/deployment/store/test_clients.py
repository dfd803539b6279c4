"""create, get, list, cancel, queue position and depth."""

from __future__ import annotations

import threading
import time

import pytest

from deployment.store.base import TaskFilter
from hhray.errors import InvalidParameter
from hhray.request import Media, MediaType, Mode
from hhray.tasks import Progress, QueueDepth, TaskState


def test_a_created_task_is_pending_and_comes_back_as_it_was_given(store, new_task):
    picture = Media(type=MediaType.FIRST_FRAME, url="https://example.com/a.png?x=1&y='\"")
    new = new_task(
        clip={"mode": Mode.I2V, "seed": 7, "media": (picture,), "prompt": "'; DROP TABLE tasks; -- \x00 马"},
        request_id="r-1",
        api_key_id="key-1",
    )
    before = time.time()
    task = store.create(new)
    assert task == store.get(new.task_id)
    assert (task.state, task.progress, task.stage, task.attempt, task.faults) == (TaskState.PENDING, 0.0, "", 0, 0)
    assert task.request == new.request
    assert (task.request_id, task.api_key_id, task.gpu_seconds, task.ready) == ("r-1", "key-1", 10.0, True)
    assert before - 0.001 <= task.submitted_at <= time.time() + 0.001
    assert task.expires_at == pytest.approx(task.submitted_at + 1000.0, abs=1e-6)
    assert (task.scheduled_at, task.started_at, task.ended_at) == (None, None, None)


def test_times_are_stored_in_whole_milliseconds(store, create, artifact):
    create()
    (claim,) = store.claim_oldest("e", 100, 1)
    task = store.publish(claim.task.task_id, "e", claim.fence, artifact, {}, "")
    for moment in (task.submitted_at, task.scheduled_at, task.started_at, task.ended_at):
        assert moment == round(moment, 3)


def test_the_same_tenant_and_idempotency_key_give_the_same_task(store, create):
    first = create(idempotency_key="k", clip={"seed": 1})
    assert create(idempotency_key="k", clip={"seed": 2}) == first
    assert create(idempotency_key="k", tenant="bob").task_id != first.task_id
    assert create(idempotency_key="other").task_id != first.task_id
    assert create().task_id != create().task_id
    assert store.depth().queued == 5


def test_concurrent_creates_with_one_key_make_one_task(store, new_task):
    news = [new_task(idempotency_key="k") for _ in range(16)]
    seen = []
    threads = [threading.Thread(target=lambda new=new: seen.append(store.create(new).task_id)) for new in news]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 16
    assert len(set(seen)) == 1
    assert store.depth().queued == 1


def test_another_tenants_task_is_not_found(store, create):
    task = create(tenant="alice")
    assert store.get(task.task_id, "alice") == task
    assert store.get(task.task_id, "bob") is None
    assert store.get(task.task_id, "") is None
    assert not store.cancel_pending(task.task_id, "bob")
    assert not store.request_cancel(task.task_id, "bob")
    assert store.get(task.task_id).state is TaskState.PENDING


@pytest.mark.parametrize("task_id", ["", "nope", "%", "' OR 1=1 --", "t0\x00", "../t0", "t" * 100_000])
def test_hostile_ids_find_nothing(store, create, task_id):
    create(task_id="t0")
    assert store.get(task_id) is None
    assert not store.cancel_pending(task_id, None)
    assert not store.request_cancel(task_id, None)
    assert store.queue_position(task_id) is None
    assert store.claim([task_id], "e", 10) == []


def test_half_a_surrogate_pair_is_the_clients_error(store):
    with pytest.raises(InvalidParameter, match="surrogate"):
        store.get("\ud800")


def test_lists_are_newest_first_in_pages_with_the_number_of_all_matches(store, create):
    ids = [create().task_id for _ in range(7)]
    create(tenant="bob")
    pages = [store.list_tasks(TaskFilter("alice", page=page, page_size=3)) for page in (1, 2, 3, 4, 10**30)]
    assert [total for _, total in pages] == [7] * 5
    assert [[task.task_id for task in tasks] for tasks, _ in pages] == [
        ids[6:3:-1],
        ids[3:0:-1],
        ids[:1],
        [],
        [],
    ]


def test_lists_are_filtered_by_id_model_state_and_inclusive_times(store, create):
    first = create()
    time.sleep(0.003)
    second = create(clip={"model": "happyhorse-1.1-t2v"})
    store.cancel_pending(second.task_id, None)

    def found(**where):
        tasks, total = store.list_tasks(TaskFilter("alice", **where))
        assert total == len(tasks)
        return [task.task_id for task in tasks]

    assert found(task_id=first.task_id) == [first.task_id]
    assert found(model="happyhorse-1.1-t2v") == [second.task_id]
    assert found(state=TaskState.CANCELED) == [second.task_id]
    assert found(state=TaskState.UNKNOWN) == []
    assert found(end=first.submitted_at) == [first.task_id]
    assert found(start=second.submitted_at) == [second.task_id]
    assert found(start=first.submitted_at, end=second.submitted_at) == [second.task_id, first.task_id]
    assert found(state=TaskState.PENDING, model="happyhorse-1.1-t2v") == []


def test_get_and_list_show_progress_and_stage_of_the_lease(store, create, artifact):
    task_id = create().task_id
    (claim,) = store.claim_oldest("e", 100, 1)
    store.renew("e", 100, {task_id: Progress(0.375, "denoise")})
    (listed,), _ = store.list_tasks(TaskFilter("alice"))
    assert listed == store.get(task_id)
    assert (listed.state, listed.progress, listed.stage) == (TaskState.RUNNING, 0.375, "denoise")
    ended = store.publish(task_id, "e", claim.fence, artifact, {}, "")
    assert (ended.progress, ended.stage) == (1.0, "")


def test_a_pending_task_is_cancelled_once(store, create, events):
    task_id = create().task_id
    assert store.cancel_pending(task_id, "alice")
    assert not store.cancel_pending(task_id, "alice")
    assert not store.request_cancel(task_id, "alice")
    assert store.get(task_id).state is TaskState.CANCELED
    assert store.claim([task_id], "e", 10) == []
    assert store.queued() == []
    assert events() == {"canceled": 1}


def test_cancel_pending_leaves_a_running_task_alone(store, create):
    task_id = create().task_id
    store.claim_oldest("e", 100, 1)
    assert not store.cancel_pending(task_id, None)
    assert not store.get(task_id).cancel_requested


def test_request_cancel_ends_a_pending_task_and_marks_a_running_one(store, create):
    first, second = create().task_id, create().task_id
    store.claim([first], "e", 100)
    assert store.request_cancel(first, None)
    assert store.request_cancel(first, None)
    assert store.request_cancel(second, None)
    assert (store.get(first).state, store.get(first).cancel_requested) == (TaskState.RUNNING, True)
    assert store.get(second).state is TaskState.CANCELED
    views = store.renew("e", 100, {first: Progress(0.5, "denoise")})
    assert (views[first].held, views[first].cancel_requested) == (True, True)


def test_queue_position_counts_claimable_tasks_submitted_before(store, create):
    first, second = create().task_id, create().task_id
    media = create(ready=False).task_id
    last = create().task_id
    assert [store.queue_position(task_id) for task_id in (first, second, media, last)] == [0, 1, 2, 2]
    store.claim([first], "e", 100)
    assert [store.queue_position(task_id) for task_id in (first, second, media, last)] == [None, 0, 1, 1]
    assert store.queue_position("nope") is None


def test_depth_counts_waiting_and_running_work(store, create):
    assert store.depth() == QueueDepth(0, 0.0, 0, 0.0)
    create(gpu_seconds=1.0)
    create(gpu_seconds=2.0)
    create(gpu_seconds=4.0, ready=False)
    store.claim_oldest("e", 100, 1)
    assert store.depth() == QueueDepth(2, 6.0, 1, 1.0)
