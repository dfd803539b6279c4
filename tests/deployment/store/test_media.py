"""Media intake: a task becomes claimable once its media is here."""

from __future__ import annotations

from hhray.geometry import Ratio
from hhray.request import Media, MediaType, Mode
from hhray.tasks import TaskState


def test_media_is_claimed_oldest_first_and_by_one_owner(store, create):
    create()
    first, second = create(ready=False).task_id, create(ready=False).task_id
    assert store.claim_media("a", 100).task_id == first
    assert store.claim_media("b", 100).task_id == second
    assert store.claim_media("c", 100) is None


def test_a_task_can_be_claimed_by_name(store, create):
    create(ready=False)
    second = create(ready=False).task_id
    assert store.claim_media("a", 100, second).task_id == second
    assert store.claim_media("b", 100, second) is None
    assert store.claim_media("b", 100, create().task_id) is None
    assert store.claim_media("b", 100, "nope") is None


def test_a_task_is_not_claimable_before_its_media_is_ready(store, create, request_of):
    task_id = create(clip={"mode": Mode.I2V}, ready=False).task_id
    assert store.claim_oldest("e", 100, 4) == []
    assert store.claim([task_id], "e", 100) == []
    assert store.queued() == []
    store.claim_media("a", 100)
    picture = Media(type=MediaType.FIRST_FRAME, key="inputs/1")
    completed = request_of(mode=Mode.I2V, ratio=Ratio.R1_1, media=(picture,))
    assert store.media_ready(task_id, "a", completed, 42.0)
    assert not store.media_ready(task_id, "a", completed, 42.0)
    (queued,) = store.queued()
    assert (queued.task_id, queued.bucket, queued.gpu_seconds) == (task_id, str(completed.shape_key), 42.0)
    (claim,) = store.claim([task_id], "e", 100)
    assert claim.task.request == completed


def test_a_media_claim_that_ran_out_is_taken_over_and_the_first_owner_can_write_nothing(store, create, request_of):
    task_id = create(ready=False).task_id
    store.claim_media("a", 0)
    assert store.claim_media("b", 100).task_id == task_id
    assert not store.media_ready(task_id, "a", request_of(), 1.0)
    assert not store.media_failed(task_id, "a", "InputDownloadFailed", "late")
    assert store.get(task_id).state is TaskState.PENDING
    assert store.media_ready(task_id, "b", request_of(), 1.0)


def test_media_that_cannot_be_used_fails_the_task_with_one_event(store, create, events):
    task_id = create(ready=False).task_id
    store.claim_media("a", 100)
    assert store.media_failed(task_id, "a", "InputDownloadFailed", "the picture's host does not answer")
    assert not store.media_failed(task_id, "a", "InputDownloadFailed", "again")
    task = store.get(task_id)
    assert (task.state, task.error_code) == (TaskState.FAILED, "InputDownloadFailed")
    assert task.error_message == "the picture's host does not answer"
    assert task.stages == {}
    assert events() == {"failed": 1}


def test_a_cancelled_task_takes_no_media(store, create, request_of, events):
    task_id = create(ready=False).task_id
    store.claim_media("a", 100)
    assert store.cancel_pending(task_id, None)
    assert not store.media_ready(task_id, "a", request_of(), 1.0)
    assert not store.media_failed(task_id, "a", "x", "y")
    assert store.claim_media("b", 100) is None
    assert events() == {"canceled": 1}
