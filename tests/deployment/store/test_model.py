"""Random histories of all verbs: the store and a few lines of plain Python must tell the same story."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
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
from hhray.request import ClipRequest, Mode
from hhray.tasks import Artifact, NewTask, Progress

REQUEST = ClipRequest(model="happyhorse-1.0-t2v", mode=Mode.T2V, prompt="a horse")
ENDED = ("SUCCEEDED", "FAILED", "CANCELED")
MAX_FAULTS = 3
NUM_TASKS = 10
IDS = st.integers(0, NUM_TASKS - 1).map(lambda number: f"t{number}")
OWNERS = st.sampled_from(["a", "b"])
LEASES = st.sampled_from([0.0, 1000.0])  # over at once, or not in this test's time


@dataclass
class Expected:
    """The model's task."""

    ready: bool
    state: str = "PENDING"
    attempt: int = 0
    faults: int = 0
    owner: str = ""
    lease_over: bool = False
    cancel: bool = False
    media_owner: str = ""
    media_over: bool = True


class Histories(RuleBasedStateMachine):
    """`tasks` is the model; each rule does the same to it and to the store and compares the answers.

    The writes of owners draw from the claims ever given, so that zombies with an old fence come as often as holders.
    """

    claims = Bundle("claims")
    media_claims = Bundle("media_claims")

    def __init__(self, store):
        super().__init__()
        self.store = store
        self.tasks: dict[str, Expected] = {}
        self.keys: dict[str, str] = {}
        self.ends: Counter[str] = Counter()

    def teardown(self):
        try:
            self.a_tenants_counters_are_the_sums_over_its_tasks()  # once a history: they do not heal
        finally:
            self.store.close()

    def end(self, task, state):
        task.state = "CANCELED" if task.cancel else state
        task.owner, task.media_owner = "", ""
        self.ends[task.state.lower()] += 1

    def give_back(self, task, *, fault):
        task.faults += fault
        if task.cancel or (fault and task.faults >= MAX_FAULTS):
            self.end(task, "FAILED")
        else:
            task.state, task.owner = "PENDING", ""
        return task.state

    def held(self, claim):
        task_id, owner, fence = claim
        task = self.tasks[task_id]
        return task if (task.state, task.owner, task.attempt) == ("RUNNING", owner, fence) else None

    @initialize()
    def start_with_four_tasks(self):
        for ready, key in ((True, None), (True, None), (False, "k1"), (False, None)):
            self.create(ready=ready, key=key)

    @rule(ready=st.booleans(), key=st.sampled_from([None, None, "k1", "k2"]))
    def create(self, ready, key):
        if len(self.tasks) == NUM_TASKS:
            return
        task_id = f"t{len(self.tasks)}"
        made = self.store.create(NewTask("alice", REQUEST, "r", 1.0, ready, task_id, 1000.0, key))
        expected_id = self.keys.get(key, task_id) if key else task_id
        assert made.task_id == expected_id
        if expected_id == task_id:
            self.tasks[task_id] = Expected(ready)
            if key:
                self.keys[key] = task_id

    @rule(target=media_claims, owner=OWNERS, lease=LEASES, task_id=IDS)
    def claim_media(self, owner, lease, task_id):
        claimed = self.store.claim_media(owner, lease, task_id)
        task = self.tasks.get(task_id)
        free = bool(task and task.state == "PENDING" and not task.ready and task.media_over)
        assert (claimed is not None) == free
        if free:
            task.media_owner, task.media_over = owner, lease == 0
            return task_id, owner
        return multiple()

    @rule(claim=media_claims, usable=st.booleans())
    def end_media(self, claim, usable):
        task_id, owner = claim
        if usable:
            done = self.store.media_ready(task_id, owner, REQUEST, 2.0)
        else:
            done = self.store.media_failed(task_id, owner, "InputDownloadFailed", "no answer")
        task = self.tasks[task_id]
        assert done == (task.media_owner == owner)
        if done and usable:
            task.ready, task.media_owner = True, ""
        elif done:
            self.end(task, "FAILED")

    def start(self, task_ids, owner, lease):
        """The claims of those of `task_ids` that can be claimed."""
        given = []
        for task_id in task_ids:
            task = self.tasks.get(task_id)
            if task and task.state == "PENDING" and task.ready:
                task.state, task.owner, task.lease_over = "RUNNING", owner, lease == 0
                task.attempt += 1
                given.append((task_id, owner, task.attempt))
        return given

    @rule(target=claims, task_ids=st.lists(IDS, min_size=1, max_size=4), owner=OWNERS, lease=LEASES)
    def claim(self, task_ids, owner, lease):
        expected = self.start(task_ids, owner, lease)
        given = self.store.claim(task_ids, owner, lease)
        assert [(claim.task.task_id, claim.owner, claim.fence) for claim in given] == expected
        return multiple(*expected)

    @rule(target=claims, owner=OWNERS, lease=LEASES, limit=st.integers(1, 3))
    def claim_oldest(self, owner, lease, limit):
        oldest = [task_id for task_id, task in self.tasks.items() if task.state == "PENDING" and task.ready]
        expected = self.start(oldest[:limit], owner, lease)
        given = self.store.claim_oldest(owner, lease, limit)
        assert [(claim.task.task_id, claim.owner, claim.fence) for claim in given] == expected
        return multiple(*expected)

    @rule(owner=OWNERS, lease=LEASES, task_ids=st.sets(IDS, max_size=3))
    def renew(self, owner, lease, task_ids):
        views = self.store.renew(owner, lease, dict.fromkeys(task_ids, Progress(0.5, "denoise")))
        assert set(views) == task_ids
        for task_id, view in views.items():
            task = self.tasks.get(task_id)
            assert view.held == bool(task and task.owner == owner)
            if view.held:
                assert view.cancel_requested == task.cancel
                task.lease_over = lease == 0

    @rule(claim=claims, fault=st.sampled_from(["", "rank 1 died"]))
    def release(self, claim, fault):
        done = self.store.release(*claim, fault=fault, max_faults=MAX_FAULTS)
        task = self.held(claim)
        assert done == (task is not None)
        if task:
            self.give_back(task, fault=bool(fault))

    @rule(claim=claims, state=st.sampled_from(ENDED))
    def finish(self, claim, state):
        if state == "SUCCEEDED":
            published = self.store.publish(*claim, Artifact("k", "s", 1), {"text": 0.5}, "")
            done = published is not None
        elif state == "FAILED":
            done = self.store.fail(*claim, "InternalError", "no codec", {})
        else:
            done = self.store.cancel_running(*claim, {})
        task = self.held(claim)
        if task:
            self.end(task, state)
        dropped = bool(task and state == "SUCCEEDED" and task.cancel)
        assert done == (task is not None and not dropped)

    @rule(task_id=IDS, running_too=st.booleans())
    def cancel(self, task_id, running_too):
        verb = self.store.request_cancel if running_too else self.store.cancel_pending
        done = verb(task_id, "alice")
        task = self.tasks.get(task_id)
        states = ("PENDING", "RUNNING") if running_too else ("PENDING",)
        assert done == bool(task and task.state in states)
        if done and task.state == "RUNNING":
            task.cancel = True
        elif done:
            self.end(task, "CANCELED")

    @rule(claim=claims)
    def cancel_a_claimed_one(self, claim):
        self.cancel(claim[0], running_too=True)

    @rule()
    def reap(self):
        over = {task_id: task for task_id, task in self.tasks.items() if task.owner and task.lease_over}
        reaped = dict(self.store.reap(MAX_FAULTS))
        assert reaped == {task_id: self.give_back(task, fault=True) for task_id, task in over.items()}

    @rule(target=claims, claim=claims, owner=OWNERS)
    def take_over(self, claim, owner):
        """An owner goes silent; another, or itself once restarted, gets the task."""
        self.renew(claim[1], 0.0, {claim[0]})
        self.reap()
        return self.claim([claim[0]], owner, 1000.0)

    @rule()
    def fold(self):
        self.store.fold()

    @invariant()
    def the_store_tells_the_same_story(self):
        tasks, total = self.store.list_tasks(TaskFilter("alice", page_size=100))
        assert total == len(self.tasks)
        stored = {
            task.task_id: (task.state, task.ready, task.attempt, task.faults, task.cancel_requested) for task in tasks
        }
        assert stored == {
            task_id: (task.state, task.ready, task.attempt, task.faults, task.cancel)
            for task_id, task in self.tasks.items()
        }
        assert all((task.ended_at is not None) == (task.state in ENDED) for task in tasks)

    @invariant()
    def what_waits_can_be_claimed_and_nothing_else(self):
        waiting = {task_id for task_id, task in self.tasks.items() if task.state == "PENDING" and task.ready}
        assert {item.task_id for item in self.store.queued()} == waiting

    def a_tenants_counters_are_the_sums_over_its_tasks(self):
        unfinished = sum(task.state not in ENDED for task in self.tasks.values())
        assert self.store.quota_use("alice").unfinished == unfinished
        counted = Counter()
        for row in self.store.usage("alice", 0, 99_999):
            counted.update({"succeeded": row.clips, "failed": row.failures, "canceled": row.cancels})
        assert +counted == self.ends

    @invariant()
    def each_ended_task_is_one_event(self):
        counted = Counter()
        for row in self.store.metric_rows():
            if row.metric == "hhray_clip_seconds":
                counted[row.labels[3]] += row.count
        assert counted == self.ends
        assert self.ends.total() == sum(task.state in ENDED for task in self.tasks.values())


def test_random_histories_match_a_plain_model(database, empty_store):
    run_state_machine_as_test(
        lambda: Histories(empty_store(database)),
        settings=settings(
            max_examples={"sqlite": 50, "postgres": 5, "memory": 15}[database],
            stateful_step_count=50,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
