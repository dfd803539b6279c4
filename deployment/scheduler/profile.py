"""Predicted seconds of the clips of one bucket, laid out for quick look-up by degree."""

from __future__ import annotations

from itertools import accumulate

from deployment.scheduler.values import UnitCosts


class ClipProfile:
    """Seconds of every unit of a batch, and of all units from one on, by degree."""

    __slots__ = ("_left", "_long", "_seconds", "_widest", "alone", "degrees", "items", "made_at", "num_units")

    def __init__(
        self, costs: UnitCosts, bucket: str, degrees: tuple[int, ...], items: int = 1, made_at: float = 0.0
    ) -> None:
        self.degrees, self.items, self.made_at = tuple(sorted(degrees)), items, made_at
        self._widest: dict[float, tuple[int, ...]] = {}
        self._long: dict[float, tuple[int, ...]] = {}
        self.num_units = costs.num_units(bucket)
        self.alone = costs.alone_seconds(bucket)
        self._seconds = {
            degree: tuple(costs.unit_seconds(bucket, unit, degree, items) for unit in range(self.num_units))
            for degree in degrees
        }
        self._left = {
            degree: (*reversed(tuple(accumulate(reversed(row)))), 0.0) for degree, row in self._seconds.items()
        }

    def step(self, units_done: int, degree: int) -> float:
        """Wall seconds of the next unit; 0 after the last."""
        row = self._seconds[degree]
        return row[units_done] if units_done < len(row) else 0.0

    def left(self, units_done: int, degree: int) -> float:
        """Wall seconds of all units that are not done."""
        return self._left[degree][min(units_done, self.num_units)]

    def best_left(self, units_done: int, most: int) -> float:
        """The fewest seconds all units that are not done take on a block of at most `most` ranks."""
        return min(self.left(units_done, degree) for degree in self.degrees if degree <= most or degree == 1)

    def widest(self, units_done: int, efficiency: float) -> int:
        """The most ranks on which the next unit keeps that efficiency: seconds on one rank / rank-seconds on many."""
        if efficiency not in self._widest:
            self._widest[efficiency] = tuple(self._widest_of(unit, efficiency) for unit in range(self.num_units))
        row = self._widest[efficiency]
        return row[units_done] if units_done < len(row) else 1

    def long_units_left(self, units_done: int, long_seconds: float) -> int:
        """How many units to come take at least `long_seconds` on one rank."""
        if long_seconds not in self._long:
            are_long = [seconds >= long_seconds for seconds in self._seconds[1]]
            self._long[long_seconds] = tuple(sum(are_long[unit:]) for unit in range(self.num_units + 1))
        return self._long[long_seconds][min(units_done, self.num_units)]

    def _widest_of(self, unit: int, efficiency: float) -> int:
        alone = self._seconds[1][unit]
        return max(
            degree
            for degree in self.degrees
            if degree == 1 or alone >= efficiency * degree * self._seconds[degree][unit]
        )
