"""Claims, leases and fences: who may write what, and what becomes of a task whose owner goes away."""

from __future__ import annotations

import time

import pytest

from deployment.store.base import LeaseView
from hhray.tasks import Progress, TaskState


@pytest.fixture
def running(store, create):
    """Creates and claims one task for owner e."""

    def build(lease_seconds=100.0, **values):
        task_id = create(**values).task_id
        (claim,) = store.claim([task_id], "e", lease_seconds)
        return claim

    return build


def test_a_claim_starts_the_attempt_and_is_given_once(store, create):
    task_id = create().task_id
    (claim,) = store.claim([task_id], "e", 100)
    assert (claim.owner, claim.fence, claim.task) == ("e", 1, store.get(task_id))
    task = claim.task
    assert (task.state, task.attempt, task.progress) == (TaskState.RUNNING, 1, 0.0)
    assert task.scheduled_at == task.started_at >= task.submitted_at
    assert store.claim([task_id], "f", 100) == []
    assert store.claim_oldest("f", 100, 4) == []


def test_claims_come_in_the_order_given_and_skip_what_is_gone(store, create):
    first, second, third = (create().task_id for _ in range(3))
    store.cancel_pending(second, None)
    claims = store.claim([third, "nope", second, first, third], "e", 100)
    assert [claim.task.task_id for claim in claims] == [third, first]


def test_the_oldest_come_first_and_only_of_one_bucket(store, create):
    short, long = {"duration": 3}, {"duration": 15}
    ids = [create(clip=clip).task_id for clip in (short, long, short, short)]
    assert [claim.task.task_id for claim in store.claim_oldest("e", 100, 2)] == [ids[0], ids[2]]
    assert [claim.task.task_id for claim in store.claim_oldest("e", 100, 4)] == [ids[1]]
    assert [claim.task.task_id for claim in store.claim_oldest("e", 100, 4)] == [ids[3]]
    assert store.claim_oldest("e", 100, 4) == []


def test_queued_lists_claimable_tasks_by_growing_sequence(store, create):
    first, second = create(tenant="bob"), create()
    create(ready=False)
    queued = store.queued()
    assert [item.task_id for item in queued] == [first.task_id, second.task_id]
    assert queued[0].tenant == "bob"
    assert queued[0].submitted_at == first.submitted_at
    assert queued[0].sequence < queued[1].sequence
    (claim,) = store.claim([first.task_id], "e", 100)
    assert store.queued(queued[1].sequence) == []
    store.release(first.task_id, "e", claim.fence)
    (again,) = store.queued(queued[1].sequence)
    assert again.task_id == first.task_id


def test_a_sequence_never_comes_back_after_its_task_is_removed(store, create):
    create(ttl_seconds=0)
    (before,) = store.queued()
    store.expire()
    assert len(store.expire()) == 1
    create()
    assert [item.sequence > before.sequence for item in store.queued()] == [True]


def test_a_renewal_extends_own_leases_only(store, running):
    mine = running(lease_seconds=0).task.task_id
    report = Progress(0.25, "denoise")
    views = store.renew("e", 100, {mine: report, "nope": report})
    assert views == {mine: LeaseView(True, False), "nope": LeaseView(False, False)}
    assert store.renew("f", 100, {mine: Progress(0.9, "mux")}) == {mine: LeaseView(False, False)}
    assert store.reap(3) == []
    assert (store.get(mine).progress, store.get(mine).stage) == (0.25, "denoise")
    assert store.renew("e", 100, {}) == {}


def test_a_lease_runs_out_by_the_stores_clock(store, running):
    task_id = running(lease_seconds=0.15).task.task_id
    assert store.reap(3) == []
    time.sleep(0.16)
    assert store.reap(3) == [(task_id, TaskState.PENDING)]
    assert store.reap(3) == []


def test_a_reaped_task_goes_back_with_a_fault_and_keeps_its_first_schedule(store, running):
    first = running(lease_seconds=0)
    task_id = first.task.task_id
    store.reap(3)
    waiting = store.get(task_id)
    assert (waiting.state, waiting.attempt, waiting.faults, waiting.progress) == (TaskState.PENDING, 1, 1, 0.0)
    assert (waiting.error_code, waiting.error_message) == ("", "its engine stopped renewing the lease")
    assert (waiting.scheduled_at, waiting.started_at) == (first.task.scheduled_at, None)
    time.sleep(0.003)
    (second,) = store.claim_oldest("f", 100, 1)
    assert second.fence == 2
    assert second.task.scheduled_at == first.task.scheduled_at < second.task.started_at


def test_at_max_faults_the_task_fails_with_a_sentence_and_one_event(store, running, events):
    task_id = running(lease_seconds=0).task.task_id
    assert store.reap(2) == [(task_id, TaskState.PENDING)]
    (claim,) = store.claim_oldest("f", 100, 1)
    assert store.release(task_id, "f", claim.fence, fault="rank 1 died", max_faults=2)
    task = store.get(task_id)
    assert (task.state, task.faults, task.error_code) == (TaskState.FAILED, 2, "InternalError")
    assert task.error_message == "the task failed 2 engines; last fault: rank 1 died"
    assert events() == {"failed": 1}


def test_reaping_fails_a_task_at_the_limit_too(store, running, events):
    task_id = running(lease_seconds=0).task.task_id
    assert store.reap(1) == [(task_id, TaskState.FAILED)]
    assert store.get(task_id).error_message.startswith("the task failed 1 engine; last fault: its engine stopped")
    assert events() == {"failed": 1}


def test_a_release_without_fault_counts_none(store, running, events):
    claim = running()
    task_id = claim.task.task_id
    store.renew("e", 100, {task_id: Progress(0.5, "denoise")})
    assert store.release(task_id, "e", claim.fence, max_faults=1)
    assert not store.release(task_id, "e", claim.fence)
    task = store.get(task_id)
    assert (task.state, task.attempt, task.faults, task.progress) == (TaskState.PENDING, 1, 0, 0.0)
    (again,) = store.claim_oldest("f", 100, 1)
    assert (again.fence, again.task.progress) == (2, 0.0)
    assert events() == {}


def test_publishing_records_the_artifact_the_stages_and_the_queue_wait(store, running, artifact, events):
    claim = running()
    store.release(claim.task.task_id, "e", claim.fence, fault="rank 0 died", max_faults=3)
    time.sleep(0.02)
    (claim,) = store.claim_oldest("e", 100, 1)
    task = store.publish(claim.task.task_id, "e", claim.fence, artifact, {"text": 0.25, "denoise": 1.5}, "a preview")
    assert task == store.get(claim.task.task_id)
    assert (task.state, task.notice, task.progress, task.attempt) == (TaskState.SUCCEEDED, "a preview", 1.0, 2)
    assert (task.artifact_key, task.artifact_sha256, task.artifact_bytes) == ("t/1.mp4", "ab" * 32, 1234)
    assert (task.faults, task.error_code, task.error_message) == (1, "", "")
    assert task.stages == {
        "queue_wait": round(task.started_at - task.submitted_at, 3),
        "text": 0.25,
        "denoise": 1.5,
    }
    assert task.stages["queue_wait"] >= 0.02
    assert events() == {"succeeded": 1}


def test_failing_records_code_and_message(store, running, events):
    claim = running()
    assert store.fail(claim.task.task_id, "e", claim.fence, "InternalError", "no codec", {"text": 0.5})
    task = store.get(claim.task.task_id)
    assert (task.state, task.error_code, task.error_message) == (TaskState.FAILED, "InternalError", "no codec")
    assert set(task.stages) == {"queue_wait", "text"}
    assert events() == {"failed": 1}


def test_a_stopped_task_ends_cancelled(store, running, events):
    claim = running()
    store.request_cancel(claim.task.task_id, None)
    assert store.cancel_running(claim.task.task_id, "e", claim.fence, {"text": 0.5})
    assert not store.cancel_running(claim.task.task_id, "e", claim.fence, {})
    assert store.get(claim.task.task_id).state is TaskState.CANCELED
    assert events() == {"canceled": 1}


def writes_of(store, task_id, owner, fence, artifact):
    """Every write of an owner; all must be refused."""
    return [
        store.release(task_id, owner, fence),
        store.publish(task_id, owner, fence, artifact, {}, "") is not None,
        store.fail(task_id, owner, fence, "x", "y", {}),
        store.cancel_running(task_id, owner, fence, {}),
    ]


def test_a_zombie_whose_task_was_taken_over_can_write_nothing(store, running, artifact):
    task_id = running(lease_seconds=0).task.task_id
    store.reap(3)
    assert not any(writes_of(store, task_id, "e", 1, artifact))
    (claim,) = store.claim([task_id], "f", 100)
    before = store.get(task_id)
    assert not any(writes_of(store, task_id, "e", 1, artifact))
    assert not any(writes_of(store, task_id, "e", claim.fence, artifact))
    assert not any(writes_of(store, task_id, "f", 1, artifact))
    assert store.renew("e", 100, {task_id: Progress(0.9, "mux")}) == {task_id: LeaseView(False, False)}
    assert store.get(task_id) == before
    assert store.publish(task_id, "f", claim.fence, artifact, {}, "") is not None


def test_an_old_fence_of_the_same_owner_writes_nothing(store, running, artifact):
    task_id = running(lease_seconds=0).task.task_id
    store.reap(3)
    (claim,) = store.claim([task_id], "e", 100)
    assert not any(writes_of(store, task_id, "e", 1, artifact))
    assert store.get(task_id) == claim.task


def test_an_ended_task_takes_no_more_writes(store, running, artifact, events):
    claim = running()
    task_id = claim.task.task_id
    ended = store.publish(task_id, "e", claim.fence, artifact, {}, "")
    assert not any(writes_of(store, task_id, "e", claim.fence, artifact))
    assert not store.request_cancel(task_id, None)
    assert store.reap(1) == []
    assert store.get(task_id) == ended
    assert events() == {"succeeded": 1}


@pytest.mark.parametrize("way", ["reap", "release", "fault", "publish", "fail"])
def test_after_an_acknowledged_cancel_every_way_ends_cancelled(store, running, artifact, events, way):
    claim = running(lease_seconds=0)
    task_id = claim.task.task_id
    assert store.request_cancel(task_id, None)
    ends = {
        "reap": lambda: store.reap(1) == [(task_id, TaskState.CANCELED)],
        "release": lambda: store.release(task_id, "e", 1),
        "fault": lambda: store.release(task_id, "e", 1, fault="rank 1 died", max_faults=1),
        "publish": lambda: store.publish(task_id, "e", 1, artifact, {}, "") is None,
        "fail": lambda: store.fail(task_id, "e", 1, "InternalError", "no codec", {}),
    }
    assert ends[way]()
    task = store.get(task_id)
    assert (task.state, task.artifact_key, task.error_code) == (TaskState.CANCELED, "", "")
    assert store.queued() == []
    assert events() == {"canceled": 1}


def test_tasks_past_their_expiry_are_removed_unless_they_run(store, create, running, artifact, events):
    ended, waiting, fresh = create(ttl_seconds=0), create(ttl_seconds=0), create()
    store.cancel_pending(ended.task_id, None)
    claim = running(ttl_seconds=0)
    assert store.expire() == [(ended.task_id, ended.tenant)]
    assert store.get(ended.task_id) is None
    task = store.get(waiting.task_id)
    assert (task.state, task.error_code) == (TaskState.FAILED, "InternalError.Timeout")
    assert "time to live" in task.error_message
    assert store.expire() == [(waiting.task_id, waiting.tenant)]
    assert store.publish(claim.task.task_id, "e", claim.fence, artifact, {}, "") is not None
    assert store.expire() == [(claim.task.task_id, claim.task.tenant)]
    assert store.expire() == []
    assert store.get(fresh.task_id) == fresh
    assert events() == {"canceled": 1, "failed": 1, "succeeded": 1}
