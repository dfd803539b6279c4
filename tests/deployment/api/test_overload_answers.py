"""What clients are told when the server is at a loss: queries 503 only, creates no 5xx once they are committed."""

from __future__ import annotations

import base64
import uuid

import pytest

from deployment.store.sqlite import SqliteStore
from hhray.errors import StoreUnavailable

T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "a horse"}, "parameters": {"duration": 3}}


@pytest.mark.parametrize("path", [f"/api/v1/tasks/{uuid.uuid4()}", "/api/v1/tasks"])
def test_a_bug_in_a_query_is_503_with_retry_after(live, monkeypatch, path):
    def broken(*args):
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(SqliteStore, "get", broken)
    monkeypatch.setattr(SqliteStore, "list_tasks", broken)
    answer = live.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (503, "ModelUnavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert "secret" not in answer.text


@pytest.fixture
def lost_commits(monkeypatch):
    """Creates are committed, but the connection to the database breaks before it says so."""
    commit = SqliteStore.create

    def lost(store, new):
        commit(store, new)
        raise StoreUnavailable("server closed the connection unexpectedly")

    monkeypatch.setattr(SqliteStore, "create", lost)


def i2v(picture):
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    return {"model": "happyhorse-1.0-i2v", "input": {"media": [{"type": "first_frame", "url": url}]}}


def test_a_create_that_was_committed_is_answered_although_the_database_did_not_say_so(live, picture, lost_commits):
    for body in (T2V, i2v(picture())):
        task_id = live.create_id(body)
        assert live.get(task_id)["output"]["task_status"] == "PENDING"
    assert live.intake.run_once()
    assert live.store.get(task_id).ready


def test_a_create_nobody_knows_about_is_503_and_its_files_are_left_to_the_janitor(
    live, picture, lost_commits, monkeypatch
):
    found = SqliteStore.get

    def away(*args):
        raise StoreUnavailable("no connection")

    monkeypatch.setattr(SqliteStore, "get", away)
    answer = live.create(i2v(picture()))
    assert (answer.status_code, answer.json()["code"]) == (503, "ModelUnavailable")
    monkeypatch.setattr(SqliteStore, "get", found)
    assert live.intake.run_once()  # it was committed after all, and its picture is there
    assert live.store.depth().queued == 1
