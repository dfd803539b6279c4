"""What the router learns about costs is in the store, and there again after a restart."""

from __future__ import annotations

import asyncio

import pytest

from deployment.cost_keeper import CostKeeper
from hhray.cost import CostModel
from hhray.errors import StoreUnavailable
from hhray.model_size import preset
from hhray.predicted_ratio import ratio_histograms
from hhray.served_model import ServedModel

MODEL = CostModel(ServedModel(preset("pico")), 1e10, 1e7)
BUCKET = "t2v/256P/16:9/3"


class RowsInMemory:
    """The two verbs, as the task store will have them."""

    def __init__(self):
        self.rows, self.saves, self.down = {}, [], False

    def save_costs(self, rows):
        if self.down:
            raise StoreUnavailable("the database does not answer")
        self.saves.append(dict(rows))
        self.rows.update(rows)

    def costs(self):
        return dict(self.rows)


def teach(keeper, ratio, times=1, cold=False):
    plain = sum(keeper.costs.table.units(BUCKET, 2, 1)[:8])
    for _ in range(times):
        keeper.observe(BUCKET, range(8), 2, 1, ratio * plain, cold=cold)


def test_a_restart_goes_on_with_what_was_learnt():
    store = RowsInMemory()
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


def test_only_changes_are_written_and_nothing_when_there_are_none():
    store = RowsInMemory()
    keeper = CostKeeper(store, MODEL)
    asyncio.run(keeper.save())
    teach(keeper, 50.0, cold=True)
    asyncio.run(keeper.save())
    assert store.saves == []
    teach(keeper, 1.2)
    asyncio.run(keeper.save())
    asyncio.run(keeper.save())
    assert len(store.saves) == 1
    assert len(store.saves[0]) == 6  # five classes and one series of the metric


def test_what_a_store_that_is_away_could_not_take_is_written_later():
    store = RowsInMemory()
    keeper = CostKeeper(store, MODEL)
    teach(keeper, 1.3)
    store.down = True
    with pytest.raises(StoreUnavailable):
        asyncio.run(keeper.save())
    store.down = False
    asyncio.run(keeper.save())
    assert len(store.rows) == 6


def test_two_routers_on_one_store_count_their_own_errors():
    store = RowsInMemory()
    for name, times in (("blue", 2), ("green", 3)):
        keeper = CostKeeper(store, MODEL, writer=name)
        teach(keeper, 1.0, times)
        asyncio.run(keeper.save())
    (row,) = ratio_histograms(store.costs())
    assert row.count == 5
