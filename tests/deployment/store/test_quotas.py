"""Quotas are checked and taken in one transaction; counters, usage and audit rows are what the tasks say."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from deployment.store import open_store
from deployment.store.postgres import PostgresStore
from deployment.store.sqlite import SqliteStore
from hhray.errors import InvalidParameter, RequestError, Throttled
from hhray.quotas import Quota
from hhray.request import ClipRequest, Mode
from hhray.settings import load_settings

DAY = 86400.0


@pytest.fixture
def clock():
    """2026-01-31 23:00 UTC: an hour before a day and a month end."""
    return [1769900400.0]


@pytest.fixture
def timed(empty_store, database, clock):
    """An empty store with that clock."""
    store = empty_store(database, lambda: clock[0])
    yield store
    store.close()


def end(store, task, artifact, how):
    if how == "canceled":
        assert store.cancel_pending(task.task_id, None)
        return
    (claim,) = store.claim([task.task_id], "engine", 60.0)
    if how == "failed":
        store.fail(task.task_id, "engine", claim.fence, "InternalError", "no codec", {})
    else:
        facts = {"weights": "w" * 64, "layout": "0-3"}
        assert store.publish(task.task_id, "engine", claim.fence, artifact, {}, "", facts)


def test_creates_come_at_the_rate_and_retry_after_is_true(timed, clock, new_task):
    quota = Quota(creates_per_second=2.0, create_burst=3)
    for _ in range(3):
        timed.create(new_task(quota=quota))
    with pytest.raises(Throttled) as caught:
        timed.create(new_task(quota=quota))
    assert (caught.value.code, caught.value.status) == ("Throttling.RateQuota", 429)
    assert caught.value.retry_after_seconds == pytest.approx(0.5)
    timed.create(new_task(quota=quota, tenant="bob"))
    clock[0] += 0.499
    with pytest.raises(Throttled):
        timed.create(new_task(quota=quota))
    clock[0] += 0.001
    timed.create(new_task(quota=quota))
    assert timed.depth().queued == 5


def test_a_repeated_create_takes_nothing(timed, new_task):
    quota = Quota(creates_per_second=0.001, create_burst=1, unfinished=1)
    first = timed.create(new_task(quota=quota, idempotency_key="k"))
    assert timed.create(new_task(quota=quota, idempotency_key="k")).task_id == first.task_id
    assert timed.quota_use("alice").unfinished == 1


@pytest.mark.parametrize("how", ["succeeded", "failed", "canceled"])
def test_a_place_is_free_again_when_a_task_ends(timed, new_task, artifact, how):
    quota = Quota(unfinished=2)
    first = timed.create(new_task(quota=quota))
    timed.create(new_task(quota=quota, ready=False))
    with pytest.raises(Throttled) as caught:
        timed.create(new_task(quota=quota))
    assert caught.value.code == "Throttling.AllocationQuota"
    end(timed, first, artifact, how)
    timed.create(new_task(quota=quota))
    assert timed.quota_use("alice").unfinished == 2


def test_gpu_seconds_of_a_day_are_given_back_unless_a_clip_came_of_them(timed, clock, new_task, artifact):
    quota = Quota(gpu_seconds_per_day=25.0)
    tasks = [timed.create(new_task(quota=quota)) for _ in range(2)]
    with pytest.raises(Throttled, match="leaves 5, less than this clip takes") as caught:
        timed.create(new_task(quota=quota))
    assert caught.value.retry_after_seconds == 3600.0
    end(timed, tasks[0], artifact, "failed")
    tasks[0] = timed.create(new_task(quota=quota))
    end(timed, tasks[0], artifact, "succeeded")
    with pytest.raises(Throttled):
        timed.create(new_task(quota=quota))
    clock[0] += 3600.0
    timed.create(new_task(quota=quota))
    end(timed, tasks[1], artifact, "failed")  # of yesterday: today's sum stays
    assert timed.quota_use("alice").gpu_ms == 10_000


def test_video_seconds_of_a_month_and_what_media_says_of_them(timed, clock, new_task):
    quota = Quota(video_seconds_per_month=20.0)
    edit = ClipRequest(model="happyhorse-1.0-video-edit", mode=Mode.VIDEO_EDIT, prompt="x")
    task = timed.create(replace(new_task(quota=quota, ready=False), request=edit))
    assert timed.quota_use("alice").video_ms == 15_000  # the longest there is, until its length is known
    timed.claim_media("intake", 60.0)
    known = edit.model_copy(update={"source_seconds": 6.5, "duration": 7})
    assert timed.media_ready(task.task_id, "intake", known, 12.0)
    use = timed.quota_use("alice")
    assert (use.video_ms, use.gpu_ms) == (6_500, 12_000)
    timed.create(new_task(quota=quota, clip={"duration": 10}))
    with pytest.raises(Throttled) as caught:
        timed.create(new_task(quota=quota, clip={"duration": 4}))
    assert caught.value.retry_after_seconds == 3600.0
    clock[0] += 3600.0
    timed.create(new_task(quota=quota, clip={"duration": 4}))


def test_a_clip_that_no_day_has_room_for_is_refused_for_good(timed, new_task):
    with pytest.raises(InvalidParameter, match="10 of the 9 GPU-seconds a day"):
        timed.create(new_task(quota=Quota(gpu_seconds_per_day=9.0)))
    assert timed.quota_use("alice").unfinished == 0


def test_creates_at_the_same_time_through_two_replicas_never_exceed_a_quota(database, overrides, new_task):
    quota, made, refused = Quota(unfinished=7, gpu_seconds_per_day=500.0), [], []
    stores = [open_store(load_settings(overrides=overrides)) for _ in range(2)]
    tasks = [[new_task(quota=quota, ready=n % 2 == 0) for n in range(4)] for _ in range(6)]

    def create(store, mine):
        for new in mine:
            try:
                made.append(store.create(new).task_id)
            except RequestError as error:
                refused.append(error.code)

    threads = [threading.Thread(target=create, args=(stores[n % 2], mine)) for n, mine in enumerate(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    use = stores[0].quota_use("alice")
    for store in stores:
        store.close()
    assert (len(made), refused) == (7, ["Throttling.AllocationQuota"] * 17)
    assert (use.unfinished, use.gpu_ms) == (7, 70_000)


def test_creates_and_ends_at_the_same_time_wait_for_nobody_for_ever(database, overrides, new_task, artifact):
    """Several tenants, requeues, ends and creates at once: locks are taken in one order."""
    store = open_store(load_settings(overrides=overrides))
    tasks = [store.create(new_task(tenant=f"tenant{n % 3}")) for n in range(12)]
    store.claim([task.task_id for task in tasks], "engine", 0.0)
    errors = []

    def run(work):
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    created = [[new_task(tenant=f"tenant{n % 3}") for n in range(8)] for _ in range(3)]
    works = [lambda: store.reap(1), store.expire, lambda: store.forget("tenant1")]
    works += [lambda mine=mine: [store.create(new) for new in mine] for mine in created]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    unfinished = sum(store.quota_use(f"tenant{n}").unfinished for n in range(3))
    depth = store.depth()
    store.close()
    assert unfinished == depth.queued + depth.running


def test_a_release_and_a_lost_lease_keep_the_charge(timed, clock, new_task):
    task = timed.create(new_task())
    (claim,) = timed.claim([task.task_id], "engine", 5.0)
    assert timed.quota_use("alice").running == 1
    timed.release(task.task_id, "engine", claim.fence)
    timed.claim([task.task_id], "engine", 5.0)
    clock[0] += 6.0
    timed.reap(3)
    use = timed.quota_use("alice")
    assert (use.running, use.unfinished, use.gpu_ms) == (0, 1, 10_000)


def test_usage_counts_every_end_once(timed, clock, new_task, artifact):
    for how in ("succeeded", "succeeded", "failed", "canceled"):
        end(timed, timed.create(new_task(clip={"duration": 4})), artifact, how)
    clock[0] += DAY
    end(timed, timed.create(new_task(tenant="bob")), artifact, "succeeded")
    first, second = timed.usage(None, 0, 99_999)
    assert (first.tenant, first.day, first.model) == ("alice", "2026-01-31", "happyhorse-1.0-t2v")
    assert (first.resolution, first.mode) == ("1080P", "t2v")
    assert (first.clips, first.failures, first.cancels) == (2, 1, 1)
    assert (first.video_seconds, first.gpu_seconds) == (8.0, 20.0)
    assert (second.tenant, second.day, second.clips) == ("bob", "2026-02-01", 1)
    assert timed.usage("alice", 0, 99_999) == [first]
    assert timed.usage(None, 20_485, 20_485) == [second]


def test_usage_stays_when_tasks_are_removed(timed, clock, new_task, artifact):
    end(timed, timed.create(new_task()), artifact, "succeeded")
    clock[0] += 1001.0
    assert timed.expire()
    assert [row.clips for row in timed.usage("alice", 0, 99_999)] == [1]


def test_the_audit_log_says_who_did_what(timed, new_task, artifact):
    made = timed.create(new_task(clip={"seed": 7}, api_key_id="k1", prompt_hash="h" * 64))
    end(timed, made, artifact, "succeeded")
    stopped = timed.create(new_task(tenant="bob", api_key_id="k2"))
    timed.claim([stopped.task_id], "engine", 60.0)
    timed.request_cancel(stopped.task_id, "bob", "k3")
    timed.cancel_running(stopped.task_id, "engine", 1, {})
    rows = timed.audit(None, 0.0, 0, 100)
    assert [(row.what, row.tenant, row.key_id) for row in rows] == [
        ("create", "alice", "k1"),
        ("succeeded", "alice", ""),
        ("create", "bob", "k2"),
        ("cancel", "bob", "k3"),
        ("canceled", "bob", ""),
    ]
    assert (rows[0].prompt_hash, rows[0].seed, rows[0].task_id) == ("h" * 64, 7, made.task_id)
    assert (rows[1].weights, rows[1].layout, rows[1].result) == ("w" * 64, "0-3", artifact.sha256)
    assert timed.audit("bob", 0.0, rows[2].audit_id, 1) == [rows[3]]


def test_a_create_that_is_refused_leaves_no_trace(timed, new_task):
    timed.create(new_task(quota=Quota(unfinished=1)))
    with pytest.raises(Throttled):
        timed.create(new_task(quota=Quota(unfinished=1)))
    assert [row.what for row in timed.audit(None, 0.0, 0, 100)] == ["create"]
    assert timed.quota_use("alice").unfinished == 1


def test_the_audit_log_is_append_only_but_for_the_retention_verb(timed, clock, new_task):
    timed.create(new_task())
    clock[0] += 100.0
    timed.create(new_task())
    assert timed.drop_audit(50.0) == 1
    assert len(timed.audit(None, 0.0, 0, 100)) == 1
    assert timed.drop_audit(1000.0) == 0


@pytest.mark.parametrize("statement", ["DELETE FROM audit", "UPDATE audit SET tenant = 'x'", "TRUNCATE audit"])
def test_postgresql_refuses_to_change_the_audit_log(statement, postgres_url, new_task):
    with closing(PostgresStore(postgres_url)) as store, psycopg.connect(postgres_url) as connection:
        store.create(new_task())
        store.drop_audit(1.0)
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            connection.execute(statement)
        assert len(store.audit(None, 0.0, 0, 10)) == 1


@pytest.mark.parametrize("statement", ["DELETE FROM audit", "UPDATE audit SET tenant = 'x'"])
def test_sqlite_refuses_to_change_the_audit_log(statement, path, new_task):
    with closing(SqliteStore(path)) as store, closing(sqlite3.connect(path)) as connection:
        store.create(new_task())
        store.drop_audit(1.0)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
        assert len(store.audit(None, 0.0, 0, 10)) == 1


def test_forget_removes_a_tenants_tasks_and_nobody_elses(timed, new_task, artifact):
    done, running, waiting = (timed.create(new_task()) for _ in range(3))
    end(timed, done, artifact, "succeeded")
    (claim,) = timed.claim([running.task_id], "engine", 60.0)
    other = timed.create(new_task(tenant="bob"))
    removed, left = timed.forget("alice", "k9")
    assert (sorted(removed), left) == (sorted(task.task_id for task in (done, running, waiting)), False)
    assert timed.get(running.task_id) is None
    assert timed.publish(running.task_id, "engine", claim.fence, artifact, {}, "") is None
    assert not timed.renew("engine", 60.0, {})
    assert timed.get(other.task_id) is not None
    assert timed.quota_use("alice").unfinished == 0
    assert [(row.clips, row.cancels) for row in timed.usage("alice", 0, 99_999)] == [(1, 2)]
    assert {row.key_id for row in timed.audit("alice", 0.0, 0, 100) if row.what == "forget"} == {"k9"}


def test_prompts_that_are_not_kept_go_with_the_end(timed, new_task, artifact):
    clip = {"prompt": "a secret launch", "dialogue": "hello"}
    kept = timed.create(new_task(clip))
    for how in ("succeeded", "failed", "canceled"):
        task = timed.create(new_task(clip, keep_prompt=False))
        assert timed.get(task.task_id).request.prompt == "a secret launch"
        end(timed, task, artifact, how)
        blank = timed.get(task.task_id).request
        assert (blank.prompt, blank.dialogue, blank.seed) == ("", "", task.request.seed)
    end(timed, kept, artifact, "succeeded")
    assert timed.get(kept.task_id).request.prompt == "a secret launch"
