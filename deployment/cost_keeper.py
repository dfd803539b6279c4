"""Keeps what the router learns about the cost model: read from the store at its start, written when it has changed."""

from __future__ import annotations

import asyncio

from deployment.scheduler.values import UnitCosts
from deployment.store.base import TaskStore
from hhray.corrected_costs import CorrectedCosts
from hhray.cost import CostModel
from hhray.cost_correction import Corrections
from hhray.predicted_ratio import PredictedRatios
from hhray.unit_costs import UnitCostTable


class CostKeeper:
    """`costs` are what a scheduler asks (UnitCosts); `observe` teaches them. Only one writer of a name at a time.

    Args:
        store: where rows are kept.
        model: the cost model of what is served.
        writer: the name of whoever keeps, such as the cluster's, so that two routers on one store do not overwrite each
            other's counts of errors. Corrections are shared: the later one wins.
    """

    def __init__(self, store: TaskStore, model: CostModel, writer: str = "router") -> None:
        self._store, self._writer = store, writer
        self._ratios = PredictedRatios(writer)
        self.costs = CorrectedCosts(UnitCostTable(model))
        self._unsaved: dict[str, str] = {}

    @property
    def unit_costs(self) -> UnitCosts:
        """`costs`, as a scheduler takes them; the same object before and after `restore`."""
        return self.costs

    async def restore(self) -> None:
        """Go on from what the store has; before anything is observed.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        rows = await asyncio.to_thread(self._store.costs)
        self.costs.go_on_from(Corrections.from_rows(rows))
        self._ratios = PredictedRatios(self._writer, rows)

    def observe(
        self, bucket: str, units: range, degree: int, items: int, seconds: float, *, cold: bool = False
    ) -> None:
        """Learn from a command that made `units` of a batch of `items` clips on `degree` ranks; see CorrectedCosts.

        Raises:
            ValueError: what is no bucket.
        """
        measured = self.costs.observe(bucket, units, degree, items, seconds, cold=cold)
        if measured is not None:
            self._ratios.observe(measured)

    async def save(self) -> None:
        """Write what has changed since the last time, if anything; every few seconds is often enough.

        Raises:
            StoreUnavailable: the database does not answer; the rows are kept for the next time.
        """
        rows = {**self._unsaved, **self.costs.corrections.take_changed(), **self._ratios.take_changed()}
        if not rows:
            return
        self._unsaved = rows
        await asyncio.to_thread(self._store.save_costs, rows)
        self._unsaved = {}
