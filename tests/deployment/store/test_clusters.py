"""Blue and green: two Ray clusters on one store; one drains, the other works."""

from __future__ import annotations

import pytest

from deployment.store import open_store
from hhray.settings import load_settings
from hhray.tasks import EngineRecord, TaskState


@pytest.fixture
def green(overrides):
    values = {"store": {**overrides["store"], "cluster": "green"}}
    opened = open_store(load_settings(overrides=values))
    yield opened
    opened.close()


def engine(name):
    return EngineRecord(name, 2, "pico", "ready")


def test_one_cluster_drains_while_the_other_claims(store, green, create):
    running, waiting = create().task_id, create().task_id
    store.claim([running], "blue-1", 100)
    store.set_drain(30)
    assert store.heartbeat(engine("blue-1")) is not None
    assert green.heartbeat(engine("green-1")) is None
    assert [claim.task.task_id for claim in green.claim_oldest("green-1", 100, 4)] == [waiting]
    assert store.release(running, "blue-1", 1)
    assert [claim.task.task_id for claim in green.claim_oldest("green-1", 100, 4)] == [running]
    assert store.get(running).state is TaskState.RUNNING
    store.set_drain(None)
    assert store.heartbeat(engine("blue-1")) is None


def test_each_cluster_sees_its_own_engines(store, green):
    store.heartbeat(engine("blue-1"))
    green.heartbeat(engine("green-1"))
    assert [record.engine_id for record in store.engines(10)] == ["blue-1"]
    assert [record.engine_id for record in green.engines(10)] == ["green-1"]
