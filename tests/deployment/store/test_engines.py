"""Heartbeats and the drain."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from hhray.tasks import EngineRecord

RECORD = EngineRecord("e1", 2, "tiny", "warm", detail={"pids": [1, 2], "node": "n'1"})


def test_engines_are_listed_while_their_heartbeat_is_fresh(store):
    assert store.heartbeat(RECORD) is None
    store.heartbeat(replace(RECORD, engine_id="e0", state="loading"))
    loading, warm = store.engines(10)
    assert (loading.engine_id, loading.state) == ("e0", "loading")
    assert replace(warm, updated_at=0.0) == RECORD
    assert warm.updated_at == pytest.approx(time.time(), abs=1)
    time.sleep(0.06)
    store.heartbeat(replace(RECORD, state="busy"))
    assert [(engine.engine_id, engine.state) for engine in store.engines(0.05)] == [("e1", "busy")]


def test_a_heartbeat_answers_with_the_drains_deadline(store):
    store.set_drain(30)
    assert store.heartbeat(RECORD) == pytest.approx(time.time() + 30, abs=1)
    store.set_drain(None)
    assert store.heartbeat(RECORD) is None
