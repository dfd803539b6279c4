"""Keys of creates: a life of their own, and clients that went away before they were answered."""

from __future__ import annotations

import threading

import pytest

from hhray.errors import IdempotencyConflict
from hhray.tasks import TaskState

DAY = 86400.0


@pytest.mark.parametrize("ttl_seconds", [10.0, 30 * DAY])
def test_an_idempotency_key_lives_24_hours_whatever_becomes_of_its_task(timed, clock, new_task, ttl_seconds):
    first = timed.create(new_task(idempotency_key="k", fingerprint="a", ttl_seconds=ttl_seconds))
    timed.cancel_pending(first.task_id, None)
    clock[0] += DAY - 0.001
    timed.expire()
    assert timed.drop_create_keys() == 0
    again = timed.create(new_task(idempotency_key="k", fingerprint="a"))
    assert again.task_id == first.task_id == timed.key_task_id("alice", "k", "a")
    assert again.state is (TaskState.UNKNOWN if ttl_seconds < DAY else TaskState.CANCELED)
    assert timed.depth().queued == 0
    clock[0] += 0.001
    assert timed.key_task_id("alice", "k", "a") is None
    assert timed.create(new_task(idempotency_key="k", fingerprint="b")).task_id != first.task_id
    clock[0] += DAY
    assert timed.drop_create_keys() == 1


def test_another_body_under_a_living_key_is_a_conflict_and_changes_nothing(store, new_task):
    first = store.create(new_task(idempotency_key="k", fingerprint="a"))
    for ask in (
        lambda: store.create(new_task(idempotency_key="k", fingerprint="b")),
        lambda: store.key_task_id("alice", "k", "b"),
    ):
        with pytest.raises(IdempotencyConflict, match="expected the same request"):
            ask()
    assert store.depth().queued == 1
    assert store.create(new_task(idempotency_key="k", fingerprint="a")) == first
    assert store.create(new_task(idempotency_key="k", fingerprint="b", tenant="bob")).task_id != first.task_id


def test_a_task_that_fails_at_its_create_has_an_end_an_event_and_no_key(store, new_task, events):
    new = new_task(ready=False)
    task = store.create_failed(new, "InvalidParameter", "no such ratio")
    assert (task.state, task.error_code, task.error_message) == (TaskState.FAILED, "InvalidParameter", "no such ratio")
    assert task == store.get(new.task_id)
    assert events() == {"failed": 1}
    assert (store.queued(), store.claim_media("m", 5.0), store.claim([new.task_id], "e", 5.0)) == ([], None, [])


def test_a_create_after_one_whose_client_left_gets_its_task_for_as_long_as_was_said(timed, clock, new_task):
    make = lambda: timed.create(new_task(repost_key="repost 1")).task_id  # noqa: E731
    first = make()
    second = make()
    assert second != first  # both were answered
    timed.note_repost("alice", "repost 1", second, 5.0)
    clock[0] += 4.999
    assert make() == second
    assert timed.create(new_task(repost_key="repost 2")).task_id != second
    assert timed.create(new_task(repost_key="repost 1", tenant="bob")).task_id != second
    clock[0] += 0.001
    assert make() not in (first, second)
    assert timed.drop_create_keys() == 3


@pytest.mark.parametrize("first_commits_first", [True, False])
def test_a_client_that_left_before_the_commit_has_one_task_whoever_commits_first(timed, new_task, first_commits_first):
    left, repost = new_task(repost_key="repost 1"), new_task(repost_key="repost 1")
    timed.note_repost("alice", "repost 1", "", 5.0)
    order = (left, repost) if first_commits_first else (repost, left)
    tasks = [timed.create(new).task_id for new in order]
    assert tasks == [order[0].task_id] * 2


def test_a_key_that_was_left_open_by_an_older_create_does_not_give_that_ones_task(timed, new_task):
    older = timed.create(new_task(repost_key="repost 1"))  # answered
    timed.note_repost("alice", "repost 1", "", 5.0)  # the next one's client leaves before it is committed
    newer = timed.create(new_task(repost_key="repost 1"))
    assert newer.task_id != older.task_id
    assert timed.create(new_task(repost_key="repost 1")) == newer


def test_one_task_of_many_reposts_at_once(store, new_task):
    store.note_repost("alice", "repost 1", "", 60.0)
    seen = []
    news = [new_task(repost_key="repost 1") for _ in range(12)]
    threads = [threading.Thread(target=lambda new=new: seen.append(store.create(new).task_id)) for new in news]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 12
    assert len(set(seen)) == store.depth().queued == 1
