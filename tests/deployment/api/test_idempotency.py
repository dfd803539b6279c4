"""Idempotency-Key over HTTP, and creates that a client sends again because its connection broke."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deployment.departure import REPOST_SECONDS

T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "a horse"}, "parameters": {"duration": 3, "ratio": "9:16"}}
PATH = "/api/v1/services/aigc/video-generation/video-synthesis"


def test_the_same_body_is_the_same_call_however_it_is_written(live):
    first = live.create_id(T2V, idempotency_key="one")
    headers = {"x-dashscope-async": "enable", "idempotency-key": "one", "x-dashscope-workspace": "ws-1"}
    turned = {name: T2V[name] for name in reversed(T2V)} | {
        "input": {"function": "video-synthesis", "prompt": "a horse"}
    }
    for text in (json.dumps(turned, indent=3), json.dumps(T2V, separators=(",", ":"), ensure_ascii=True)):
        answer = live.client.post(PATH, content=text, headers=headers)
        assert answer.json()["output"] == {"task_id": first, "task_status": "PENDING"}
    assert live.store.get(first).request.seed != 0  # drawn, and not drawn again


@pytest.mark.parametrize(
    "change",
    [{"duration": 4}, {"seed": 7}, {"watermark": False}, {"deadline_seconds": 60}],
    ids=lambda one: next(iter(one)),
)
def test_another_body_under_the_same_key_is_422(live, change):
    live.create_id(T2V, idempotency_key="one")
    answer = live.create(T2V | {"parameters": T2V["parameters"] | change}, idempotency_key="one")
    assert (answer.status_code, answer.json()["code"]) == (422, "IdempotencyConflict")
    assert set(answer.json()) == {"code", "message", "request_id"}
    assert live.store.depth().queued == 1


@pytest.mark.parametrize("validation", ["eager", "deferred"])
def test_a_refused_create_does_not_use_up_its_key(serve_with, validation):
    with serve_with(http={"validation": validation}) as live:
        refused = live.create(T2V | {"parameters": {"duration": 99}}, idempotency_key="one")
        assert refused.status_code == (400 if validation == "eager" else 200)
        task_id = live.create_id(T2V, idempotency_key="one")
        assert live.get(task_id)["output"]["task_status"] == "PENDING"


def test_creates_of_one_key_at_once_are_one_task_with_one_set_of_files(live, picture):
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    body = {"model": "happyhorse-1.0-i2v", "input": {"media": [{"type": "first_frame", "url": url}]}}
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: live.create_id(body, idempotency_key="one"), range(8)))
    assert len(ids) == live.store.depth().queued == 1
    assert [path.name for path in (live.services.settings.artifact_dir / "inputs" / "t-local").iterdir()] == list(ids)


def test_a_repeated_create_is_answered_although_the_backlog_is_full(serve_with):
    with serve_with(store={"max_queued": 1}) as live:
        first = live.create_id(T2V, idempotency_key="one")
        assert live.create(T2V, idempotency_key="two").status_code == 429
        assert live.create_id(T2V, idempotency_key="one") == first


def test_a_key_whose_task_is_gone_still_answers_with_it(serve_with):
    with serve_with(store={"task_ttl_seconds": 0.001}) as live:
        first = live.create_id(T2V, idempotency_key="one")
        live.client.post(f"/api/v1/tasks/{first}/cancel")
        deadline = time.monotonic() + 5
        while live.store.get(first) is not None:
            assert time.monotonic() < deadline
            live.store.expire()
        answer = live.create(T2V, idempotency_key="one")
        assert answer.json()["output"] == {"task_id": first, "task_status": "UNKNOWN"}


@pytest.fixture
def slow_commits(monkeypatch):
    """Holds every create before its commit until told to go on; `waiting` is set while one is held."""
    from deployment.store.sqlite import SqliteStore

    gate, waiting, commit = threading.Event(), threading.Event(), SqliteStore.create

    def held(store, new):
        waiting.set()
        assert gate.wait(10)
        return commit(store, new)

    monkeypatch.setattr(SqliteStore, "create", held)
    yield gate, waiting
    gate.set()


def post_and_leave(live, body, waiting):
    """Send a create and break the connection while it is being made."""
    text = json.dumps(body)
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\nx-dashscope-async: enable\r\ncontent-length: {len(text)}\r\n\r\n"
    )
    port = int(live.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall((head + text).encode())
        assert waiting.wait(10)


def noted(live):
    """Whether some departure has been written down."""
    with live.store._database.read() as transaction:
        rows = transaction._connection.execute("SELECT name FROM create_keys WHERE expires_at > store_now()").fetchall()
    return bool(rows)


def until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("merges", [True, False])
def test_a_create_sent_again_after_a_broken_connection_is_merged_where_that_is_wanted(serve_with, slow_commits, merges):
    gate, waiting = slow_commits
    with serve_with(http={"merge_reposts": merges}) as live:
        post_and_leave(live, T2V, waiting)
        if merges:
            until(lambda: noted(live))
        gate.set()
        again = live.create_id(T2V)
        until(lambda: live.store.depth().queued == (1 if merges else 2))
        assert live.get(again)["output"]["task_status"] == "PENDING"
        # the same wish once more, after an answer: within the seconds of the merge it is the same task, later another
        assert REPOST_SECONDS == 5.0
        other = live.create_id(T2V | {"input": {"prompt": "another horse"}})
        assert other != again


def test_creates_that_were_answered_are_never_merged(serve_with):
    with serve_with(http={"merge_reposts": True}) as live:
        assert len({live.create_id(T2V) for _ in range(3)}) == 3
