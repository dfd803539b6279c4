"""The outbox of webhooks, on every database: filled with a task's end, emptied by several processes."""

from __future__ import annotations

import json

import pytest

from deployment.webhooks.records import DeliveryFilter, DeliveryState
from hhray.tasks import TaskState

URL = "https://hooks.example/finished"
ALL = DeliveryFilter()


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def store(database, empty_store, clock):
    opened = empty_store(database, clock=lambda: clock[0])
    yield opened
    opened.close()


@pytest.fixture
def end(store, new_task):
    """Creates tasks with a webhook and cancels them, which ends them; their ids."""

    def build(*task_ids, url=URL, tenant="alice"):
        for task_id in task_ids:
            store.create(new_task(task_id=task_id, webhook=url, tenant=tenant))
            assert store.cancel_pending(task_id, tenant)

    return build


def claim(store, limit=10, per_receiver=9, per_tenant=9):
    return store.claim_webhooks(limit, 30.0, per_receiver=per_receiver, per_tenant=per_tenant)


def ids(deliveries):
    return [delivery.task_id for delivery in deliveries]


def test_every_way_to_an_end_puts_one_event_into_the_outbox(store, new_task, artifact):
    ends = {
        "published": lambda task_id, fence: store.publish(task_id, "e", fence, artifact, {}, ""),
        "failed": lambda task_id, fence: store.fail(task_id, "e", fence, "InternalError", "no", {}),
        "stopped": lambda task_id, fence: store.cancel_running(task_id, "e", fence, {}),
        "given back": lambda task_id, fence: store.release(task_id, "e", fence, fault="broke", max_faults=1),
    }
    for task_id, finish in ends.items():
        store.create(new_task(task_id=task_id, webhook=URL))
        assert store.webhooks(DeliveryFilter(task_id=task_id)) == []
        (claimed,) = store.claim([task_id], "e", 30.0)
        finish(task_id, claimed.fence)
        finish(task_id, claimed.fence)  # the lease is gone: no second end
    store.create(new_task(task_id="unheard"))
    store.cancel_pending("unheard", None)
    told = {one.task_id: json.loads(one.body)["data"] for one in store.webhooks(ALL)}
    states = {task_id: data["task_status"] for task_id, data in told.items()}
    assert states == {
        "published": TaskState.SUCCEEDED,
        "failed": TaskState.FAILED,
        "stopped": TaskState.CANCELED,
        "given back": TaskState.FAILED,
    }
    assert [task_id for task_id, data in told.items() if data["contain_result"]] == ["published"]


def test_a_claimed_delivery_is_nobody_elses_until_its_lease_is_over(store, end, clock):
    end("t1")
    (first,) = claim(store)
    assert (first.delivery_id, first.attempts, first.tries, first.url) == ("evt_t1", 1, 1, URL)
    assert claim(store) == []
    clock[0] += 31
    (second,) = claim(store)
    assert (second.delivery_id, second.body, second.attempts) == (first.delivery_id, first.body, 2)
    assert second.waited_seconds == 31
    assert not store.webhook_answered(first.delivery_id, first.attempts, 200, "", 0.1, None)  # it lost its claim
    assert store.webhook_answered(second.delivery_id, second.attempts, 200, "ok", 0.1, None)
    (noted,) = store.webhook_attempts("evt_t1")
    assert (noted.attempt, noted.at, noted.status, noted.detail) == (2, 1031.0, 200, "ok")
    assert store.webhooks(ALL)[0].state is DeliveryState.DELIVERED
    clock[0] += 100
    assert claim(store) == []


def test_a_failed_one_is_due_again_after_its_time_and_may_be_given_up(store, end, clock):
    end("t1")
    (one,) = claim(store)
    assert store.webhook_answered(one.delivery_id, 1, 503, "busy", 0.2, 5.0)
    clock[0] += 4.9
    assert claim(store) == []
    clock[0] += 0.2
    (one,) = claim(store)
    assert (one.attempts, one.tries, one.last_status) == (2, 2, 503)
    assert store.webhook_answered(one.delivery_id, 2, 0, "no connection", 0.2, None)
    (given_up,) = store.webhooks(DeliveryFilter(state=DeliveryState.GIVEN_UP))
    assert given_up.ended_at == pytest.approx(1005.1)
    clock[0] += 10_000
    assert claim(store) == []


def test_asked_for_again_it_is_sent_again_under_the_same_id(store, end, clock):
    end("t1")
    (one,) = claim(store)
    assert not store.redeliver_webhook("evt_t1")  # it is being sent
    store.webhook_answered(one.delivery_id, 1, 410, "gone", 0.2, None)
    clock[0] += 50
    assert not store.redeliver_webhook("evt_t1", tenant="bob")
    assert not store.redeliver_webhook("evt_t2")
    assert store.redeliver_webhook("evt_t1", tenant="alice")
    (again,) = claim(store)
    assert (again.delivery_id, again.body) == (one.delivery_id, one.body)
    assert (again.attempts, again.tries, again.waited_seconds) == (2, 1, 0.0)
    store.webhook_answered(again.delivery_id, 2, 204, "", 0.2, None)
    assert [(noted.attempt, noted.status) for noted in store.webhook_attempts("evt_t1")] == [(1, 410), (2, 204)]


def test_a_receiver_and_a_tenant_have_so_many_at_a_time_whoever_claims(store, end, clock):
    end("a1", "a2", "a3", "a4")
    clock[0] += 1
    end("a5", url="https://other.example/")
    clock[0] += 1
    end("b1", tenant="bob")  # the same receiver, another tenant's line
    assert ids(claim(store, per_receiver=2)) == ["a1", "a2", "a5", "b1"]
    assert claim(store, per_receiver=2) == []
    assert ids(claim(store, per_receiver=3)) == ["a3"]
    store.webhook_answered("evt_a1", 1, 200, "", 0.1, None)
    assert ids(claim(store, per_receiver=3)) == ["a4"]


def test_a_tenant_with_many_receivers_leaves_room_for_others(store, end, clock):
    for number in range(5):
        end(f"a{number}", url=f"https://{number}.example/")
        clock[0] += 1
    end("b1", tenant="bob")
    assert ids(claim(store, per_tenant=3)) == ["a0", "a1", "a2", "b1"]
    assert ids(claim(store, per_tenant=4, limit=1)) == ["a3"]


def test_the_list_knows_tenants_and_old_rows_go_with_their_logs(store, end, clock):
    end("a1", "a2")
    clock[0] += 1
    end("b1", tenant="bob")
    assert ids(store.webhooks(ALL)) == ["b1", "a1", "a2"]
    assert ids(store.webhooks(DeliveryFilter(tenant="bob"))) == ["b1"]
    assert ids(store.webhooks(DeliveryFilter(limit=1))) == ["b1"]
    for one in claim(store):
        store.webhook_answered(one.delivery_id, 1, 200, "", 0.1, None)
    clock[0] += 9.5
    assert store.drop_webhooks(10.0) == 2
    assert store.webhook_attempts("evt_a1") == []
    assert ids(store.webhooks(ALL)) == ["b1"]
    assert len(store.webhook_attempts("evt_b1")) == 1
    assert store.drop_webhooks(0.0, tenant="carol") == 0
    assert store.drop_webhooks(0.0, tenant="bob") == 1
    assert store.webhook_attempts("evt_b1") == []
