"""One random history on SQLite, PostgreSQL and the twin in memory: the same answers and the same rows, to the letter.

The clock of all three is the test's, so that even times are equal.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from deployment.store.base import TaskFilter
from deployment.store.upload_verbs import Upload
from hhray.errors import IdempotencyConflict
from hhray.request import ClipRequest, Mode
from hhray.tasks import Artifact, EngineRecord, NewTask, Priority, Progress

MAX_FAULTS = 3
NUM_TASKS = 7
IDS = st.integers(0, NUM_TASKS - 1).map(lambda number: f"t{number}")
OWNERS = st.sampled_from(["a", "b"])
LEASES = st.sampled_from([0.0, 5.0, 5.0, 20.0])
CLUSTERED = EngineRecord("engine", 2, "pico", "ready", detail={"node": "n\x00'1"})


def answer_of(verb, *args, **kwargs):
    """What a verb says: a conflict is an answer, too."""
    try:
        return verb(*args, **kwargs)
    except IdempotencyConflict as error:
        return error.message


class Twins(RuleBasedStateMachine):
    """`stores` are [(name, store), ...]; `clock` is a list of one number."""

    claims = Bundle("claims")
    media_claims = Bundle("media_claims")

    def __init__(self, stores, clock):
        super().__init__()
        self.stores, self.clock = stores, clock
        self.num_tasks = 0

    def teardown(self):
        for store in self.stores.values():
            store.close()

    def same(self, verb, *args, **kwargs):
        """Calls the verb on each store; the answer that all of them gave."""
        answers = {name: answer_of(getattr(store, verb), *args, **kwargs) for name, store in self.stores.items()}
        answer = answers["memory"]
        assert answers == dict.fromkeys(answers, answer)
        return answer

    @initialize()
    def start_with_four_tasks(self):
        for ready in (True, True, True, False):
            self.create(ready, None, None, "", 3, Priority.STANDARD, 0.0, reserved=False, deterministic=False)

    @rule(
        ready=st.booleans(),
        key=st.sampled_from([None, None, "k1", "k2"]),
        repost=st.sampled_from([None, None, "r 1"]),
        fingerprint=st.sampled_from(["", "a", "a", "b"]),
        duration=st.sampled_from([3, 5]),
        priority=st.sampled_from(Priority),
        deadline=st.sampled_from([0.0, 12.5]),
        reserved=st.booleans(),
        deterministic=st.booleans(),
    )
    def create(self, ready, key, repost, fingerprint, duration, priority, deadline, reserved, deterministic):
        if self.num_tasks == NUM_TASKS:
            return
        request = ClipRequest(
            model="happyhorse-1.0-t2v",
            mode=Mode.T2V,
            prompt="a horse\x00",
            duration=duration,
            deterministic=deterministic,
        )
        new = NewTask("alice", request, "r", 1.0, ready, f"t{self.num_tasks}", 50.0, key)
        new = replace(new, deadline_seconds=deadline, priority=priority, reserved=reserved)
        new = replace(new, repost_key=repost, fingerprint=fingerprint)
        made = self.same("create", new)
        self.num_tasks += not isinstance(made, str) and made.task_id == new.task_id

    @rule(task_id=st.sampled_from(["", "t1"]), life=st.sampled_from([4.999, 5.0]))
    def client_leaves(self, task_id, life):
        self.same("note_repost", "alice", "r 1", task_id, life)
        self.same("key_task_id", "alice", "k1", "a")

    @rule(
        number=st.integers(0, 2),
        verb=st.sampled_from(["begin_upload", "begin_upload", "finish_upload", "drop_upload"]),
        num_bytes=st.sampled_from([0, 40, 60]),
        seconds=st.sampled_from([5.0, 30.0]),
    )
    def upload(self, number, verb, num_bytes, seconds):
        upload = Upload(f"u{number}", "alice", "m", f"uploads/{number % 2}/a", num_bytes)
        values = {
            "begin_upload": (upload, seconds, 100),
            "finish_upload": (upload.upload_id, "ab", num_bytes, seconds),
            "drop_upload": (upload.upload_id,),
        }
        self.same(verb, *values[verb])
        self.same("upload", "alice", upload.object_key)
        self.same("has_upload", upload.upload_id)

    @rule(window=st.sampled_from([5.0, 30.0]))
    def demand(self, window):
        self.same("demand", window)

    @rule(seconds=st.sampled_from([0.001, 4.999, 5.0, 30.0]))
    def time_passes(self, seconds):
        self.clock[0] = round(self.clock[0] + seconds, 3)

    @rule(target=media_claims, owner=OWNERS, lease=LEASES, task_id=st.none() | IDS)
    def claim_media(self, owner, lease, task_id):
        claimed = self.same("claim_media", owner, lease, task_id)
        return multiple() if claimed is None else (claimed.task_id, owner, claimed.request)

    @rule(claim=media_claims, usable=st.booleans(), deterministic=st.booleans())
    def end_media(self, claim, usable, deterministic):
        task_id, owner, request = claim
        if usable:
            completed = request.model_copy(update={"deterministic": deterministic})
            self.same("media_ready", task_id, owner, completed, 2.0)
        else:
            self.same("media_failed", task_id, owner, "InputDownloadFailed", "no answer")

    @rule(target=claims, task_ids=st.lists(IDS, max_size=4), owner=OWNERS, lease=LEASES)
    def claim(self, task_ids, owner, lease):
        return multiple(*self.same("claim", task_ids, owner, lease))

    @rule(target=claims, owner=OWNERS, lease=LEASES, limit=st.integers(1, 3))
    def claim_oldest(self, owner, lease, limit):
        return multiple(*self.same("claim_oldest", owner, lease, limit))

    @rule(owner=OWNERS, lease=LEASES, task_ids=st.sets(IDS, max_size=4))
    def renew(self, owner, lease, task_ids):
        reports = {task_id: Progress(number / 4, "denoise") for number, task_id in enumerate(sorted(task_ids))}
        self.same("renew", owner, lease, reports)

    @rule(claim=claims, owner=OWNERS, lease=LEASES)
    def renew_what_was_claimed(self, claim, owner, lease):
        self.same("renew", owner, lease, {claim.task.task_id: Progress(0.25, "text")})

    @rule(claim=claims, seconds=st.sampled_from([0.0, 5.0, 5.001]))
    def reap_one(self, claim, seconds):
        """A lease that runs out in this moment, or a little earlier."""
        self.same("renew", claim.owner, 5.0, {claim.task.task_id: Progress(0.75, "decode")})
        self.time_passes(seconds)
        self.same("reap", MAX_FAULTS)

    @rule(claim=claims, fault=st.sampled_from(["", "rank 1 died"]))
    def release(self, claim, fault):
        self.same("release", claim.task.task_id, claim.owner, claim.fence, fault=fault, max_faults=MAX_FAULTS)

    @rule(claim=claims, verb=st.sampled_from(["publish", "publish", "fail", "cancel_running"]))
    def finish(self, claim, verb):
        values = {
            "publish": (Artifact("k", "s", 1), {"text": 0.5}, "a preview"),
            "fail": ("InternalError", "no codec", {}),
            "cancel_running": ({"denoise": 1.25},),
        }
        self.same(verb, claim.task.task_id, claim.owner, claim.fence, *values[verb])

    @rule(
        task_id=IDS,
        verb=st.sampled_from(["cancel_pending", "request_cancel", "delete"]),
        tenant=st.sampled_from(["alice", "bob"]),
    )
    def cancel(self, task_id, verb, tenant):
        self.same(verb, task_id, tenant)

    @rule(verb=st.sampled_from(["expire", "fold", "drop_create_keys", "expire_uploads"]))
    def upkeep(self, verb):
        self.same(verb)

    @rule()
    def reap(self):
        self.same("reap", MAX_FAULTS)

    @rule(seconds=st.sampled_from([None, 0.0, 30.0]), engine=st.sampled_from(["e1", "e2"]))
    def drain(self, seconds, engine):
        self.same("set_drain", seconds)
        self.same("heartbeat", replace(CLUSTERED, engine_id=engine))

    @rule(rows=st.dictionaries(st.sampled_from(["c1", "c2", "c3"]), st.sampled_from(["{}", "[1.5]"])))
    def learn(self, rows):
        self.same("save_costs", rows)

    @invariant()
    def all_rows_are_equal(self):
        self.same("list_tasks", TaskFilter("alice", page_size=100))
        self.same("queued")

    @rule(start=st.sampled_from([None, 1000.0, 1005.0]), page=st.integers(1, 2), task_id=IDS)
    def look(self, start, page, task_id):
        self.same("list_tasks", TaskFilter("alice", start=start, end=1060.0, page=page, page_size=3))
        for verb in ("depth", "metric_rows", "costs"):
            self.same(verb)
        self.same("uploaded_bytes", "alice")
        self.same("engines", 20.0)
        self.same("queue_position", task_id)
        self.same("get", task_id, "alice")
        self.same("quota_use", "alice")
        self.same("usage", None, 0, 10)
        self.same("find", [task_id, "t0"])
        self.same("waiting")
        for newest_first in (True, False):
            self.same("page", "alice", task_id if page == 2 else None, 3, newest_first=newest_first)


def run_histories(empty_store, examples, steps):
    def machine():
        clock = [1000.0]
        names = ("sqlite", "postgres", "memory")
        return Twins({name: empty_store(name, lambda: clock[0]) for name in names}, clock)

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],  # a history that differs is told as it is: to make it short takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_histories_are_the_same_on_all_databases(empty_store):
    run_histories(empty_store, examples=8, steps=30)


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_many_random_histories_are_the_same_on_all_databases(empty_store, keep_proof):
    start = time.monotonic()
    run_histories(empty_store, examples=40, steps=50)
    keep_proof("task_store_twins", {"histories": 40, "steps": 50, "seconds": round(time.monotonic() - start, 1)})
