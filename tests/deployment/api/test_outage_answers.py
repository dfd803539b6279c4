"""Store or disk away: requests are refused with 503 and Retry-After, in the dialect's shape; nothing is half done."""

from __future__ import annotations

import base64

import pytest

from disk_faults import full_disk
from fault_stores import outage

T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "x"}, "parameters": {"duration": 3}}


def i2v(picture: bytes) -> dict:
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    return {
        "model": "happyhorse-1.0-i2v",
        "input": {"prompt": "x", "media": [{"type": "first_frame", "url": url}]},
        "parameters": {"duration": 3},
    }


def assert_refused(answer) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "ModelUnavailable")
    assert set(answer.json()) == {"code", "message", "request_id"}
    assert int(answer.headers["retry-after"]) >= 1


def test_creates_are_refused_while_the_store_is_away_and_taken_when_it_is_back(live, picture, monkeypatch):
    monkeypatch.setattr("deployment.store.sqlite.database.BUSY_SECONDS", 0.05)
    with outage(live.services.settings):
        assert_refused(live.create(T2V, idempotency_key="one"))
        assert_refused(live.create(i2v(picture()), idempotency_key="two"))
    assert live.store.depth().queued == 0
    assert list(live.services.settings.artifact_dir.rglob("*.*")) == []
    live.create_id(T2V, idempotency_key="one")
    assert live.store.depth().queued == 1


def test_new_media_is_refused_when_the_disk_is_nearly_full_and_text_is_not(serve_with, picture):
    with serve_with(store={"min_free_bytes": 10**18}) as live:
        answer = live.create(i2v(picture()))
        assert_refused(answer)
        assert "without media" in answer.json()["message"]
        assert live.create(T2V).status_code == 200
        assert live.store.depth().queued == 1


def test_a_disk_that_fills_up_under_a_create_leaves_neither_task_nor_file(live, monkeypatch):
    noise = b"\x89PNG\r\n\x1a\n" + bytes(5 << 20)
    with full_disk(4 << 20):
        assert_refused(live.create(i2v(noise)))
    assert live.store.depth().queued == 0
    assert [path for path in live.services.settings.artifact_dir.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_health_answers_503_while_the_store_is_closed(live, path):
    live.store.close()
    assert_refused(live.client.get(path))
