"""validation: deferred - wrong values become tasks that FAILED, as with the hosted API."""

from __future__ import annotations

import pytest

from deployment.store.base import TaskFilter

T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "a horse"}}
LOCAL = TaskFilter(tenant="local")


@pytest.fixture
def deferring(serve_with):
    with serve_with(http={"validation": "deferred"}, engine={"preset": "pico", "max_seconds": 10}) as live:
        yield live


@pytest.mark.parametrize(
    ("body", "code", "part"),
    [
        (T2V | {"input": {}}, "InvalidParameter", "Field required: input.prompt"),
        ({"model": "happyhorse-1.0-r2v", "input": {"prompt": "x"}}, "InvalidParameter", "Field required: input.media"),
        (T2V | {"parameters": {"duration": "5"}}, "InvalidParameter", "parameters.duration"),
        (T2V | {"parameters": []}, "InvalidParameter", "parameters: expected an object"),
        (T2V | {"parameters": {"duration": 11}}, "InvalidParameter", "this server offers clips of at most 10 seconds"),
        (T2V | {"input": {"prompt": "a\x00b"}}, "InvalidParameter", "NUL"),
        ({"model": "happyhorse-1.0-i2v", "input": {"img_url": "http://10.0.0.1/"}}, "InvalidURL", "public address"),
    ],
)
def test_a_wrong_value_is_a_task_that_failed(deferring, body, code, part):
    answer = deferring.create(body)
    assert answer.status_code == 200
    assert answer.json()["output"]["task_status"] == "PENDING"
    task_id = answer.json()["output"]["task_id"]
    output = deferring.get(task_id)["output"]
    assert (output["task_status"], output["code"]) == ("FAILED", code)
    assert part in output["message"]
    assert deferring.client.post(f"/api/v1/tasks/{task_id}/cancel").json()["code"] == "UnsupportedOperation"
    assert deferring.store.queued() == []
    assert deferring.kicked == []


def test_such_a_task_is_listed_counted_and_expires(serve_with):
    with serve_with(http={"validation": "deferred"}, store={"task_ttl_seconds": 0.001}) as live:
        task_id = live.create_id(T2V | {"parameters": {"ratio": "2:1"}})
        listed = live.client.get("/api/v1/tasks?status=FAILED").json()["data"]
        assert [row["task_id"] for row in listed] == [task_id]
        assert 'outcome="failed"' in live.client.get("/metrics").text
        assert live.store.expire() == [(task_id, "local")]
        assert live.get(task_id)["output"]["task_status"] == "UNKNOWN"


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (T2V | {"model": "wan-9"}, {}, 400, "InvalidParameter"),
        ({"input": {"prompt": "x"}}, {}, 400, "BadRequest.EmptyModel"),
        ([], {}, 400, "BadRequest.IllegalInput"),
        (T2V, {"x_dashscope_async": "disable"}, 403, "AccessDenied"),
        (T2V, {"idempotency_key": "a b"}, 400, "InvalidParameter"),
    ],
)
def test_what_is_no_create_is_refused_at_once(deferring, body, headers, status, code):
    answer = deferring.create(body, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert deferring.store.list_tasks(LOCAL)[1] == 0


def test_a_good_create_is_as_ever(deferring):
    task_id = deferring.create_id(T2V)
    assert deferring.kicked == [task_id]
    deferring.finish(task_id)
    assert deferring.get(task_id)["output"]["task_status"] == "SUCCEEDED"
