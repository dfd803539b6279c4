"""What the router learns about costs is in the store, and there again after a restart."""

from __future__ import annotations

import asyncio

import pytest

from deployment.cost_keeper import CostKeeper
from deployment.store.memory import MemoryStore
from deployment.store.sqlite import SqliteStore
from hhray.cost import CostModel
from hhray.errors import StoreUnavailable
from hhray.model_size import preset
from hhray.predicted_ratio import ratio_histograms
from hhray.served_model import ServedModel

MODEL = CostModel(ServedModel(preset("pico")), 1e10, 1e7)
BUCKET = "t2v/256P/16:9/3"


@pytest.fixture
def store():
    opened = MemoryStore()
    yield opened
    opened.close()


def teach(keeper, ratio, times=1, cold=False):
    plain = sum(keeper.costs.table.units(BUCKET, 2, 1)[:8])
    for _ in range(times):
        keeper.observe(BUCKET, range(8), 2, 1, ratio * plain, cold=cold)


def test_a_restart_goes_on_with_what_was_learnt(store):
    keeper = CostKeeper(store, MODEL)
    teach(keeper, 1.7, times=4)
    asyncio.run(keeper.save())
    again = CostKeeper(store, MODEL)
    scheduled = again.unit_costs
    assert again.costs.unit_seconds(BUCKET, 0, 2) != keeper.costs.unit_seconds(BUCKET, 0, 2)
    asyncio.run(again.restore())
    assert scheduled.unit_seconds(BUCKET, 0, 2) == keeper.costs.unit_seconds(BUCKET, 0, 2)
    teach(again, 1.7)
    asyncio.run(again.save())
    (row,) = ratio_histograms(store.costs())
    assert (row.labels, row.count) == (("256P", "base"), 5)


def test_only_changes_are_written_and_nothing_when_there_are_none(store):
    keeper = CostKeeper(store, MODEL)
    asyncio.run(keeper.save())
    teach(keeper, 50.0, cold=True)
    asyncio.run(keeper.save())
    assert store.costs() == {}
    teach(keeper, 1.2)
    asyncio.run(keeper.save())
    assert len(store.costs()) == 6  # five classes and one series of the metric
    store.save_costs(dict.fromkeys(store.costs(), "of somebody else"))
    asyncio.run(keeper.save())
    assert set(store.costs().values()) == {"of somebody else"}


def test_what_a_store_that_is_away_could_not_take_is_written_later(tmp_path):
    store = SqliteStore(tmp_path / "tasks.sqlite3")
    keeper = CostKeeper(store, MODEL)
    teach(keeper, 1.3)
    away = (tmp_path / "tasks.sqlite3").rename(tmp_path / "away")
    with pytest.raises(StoreUnavailable):
        asyncio.run(keeper.save())
    away.rename(tmp_path / "tasks.sqlite3")
    asyncio.run(keeper.save())
    assert len(store.costs()) == 6
    store.close()


def test_two_routers_on_one_store_count_their_own_errors(store):
    for name, times in (("blue", 2), ("green", 3)):
        keeper = CostKeeper(store, MODEL, writer=name)
        teach(keeper, 1.0, times)
        asyncio.run(keeper.save())
    (row,) = ratio_histograms(store.costs())
    assert row.count == 5
