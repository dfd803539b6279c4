"""Predicted seconds of the clips of one bucket, laid out for quick look-up by degree."""

from __future__ import annotations

from itertools import accumulate

from deployment.scheduler.values import UnitCosts


class ClipProfile:
    """Seconds of every unit of a batch, and of all units from one on, by degree.

    `degrees` are the sizes of blocks it may run on, the smallest first; `least` is the fewest ranks that have the
    memory. Seconds on one rank are known in any case: they are what times are measured in.
    """

    __slots__ = (
        "_best",
        "_left",
        "_longest",
        "_seconds",
        "_widest",
        "alone",
        "degrees",
        "items",
        "made_at",
        "num_units",
    )

    def __init__(
        self,
        costs: UnitCosts,
        bucket: str,
        degrees: tuple[int, ...],
        items: int = 1,
        made_at: float = 0.0,
        least: int = 1,
    ) -> None:
        self.degrees = tuple(sorted(degree for degree in degrees if degree >= least)) or (max(degrees),)
        self.items, self.made_at = items, made_at
        self._best: dict[int, tuple[float, ...]] = {}
        self._widest: dict[float, tuple[int, ...]] = {}
        self.num_units = costs.num_units(bucket)
        self.alone = costs.alone_seconds(bucket)
        self._seconds = {
            degree: tuple(costs.unit_seconds(bucket, unit, degree, items) for unit in range(self.num_units))
            for degree in {1, *degrees}
        }
        self._longest = {degree: max(row) for degree, row in self._seconds.items()}
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
        if most not in self._best:
            rows = [self._left[degree] for degree in self.degrees if degree <= max(self.degrees[0], most)]
            self._best[most] = tuple(map(min, zip(*rows, strict=True)))
        return self._best[most][min(units_done, self.num_units)]

    def widest(self, units_done: int, efficiency: float) -> int:
        """The most ranks on which the next unit keeps that efficiency: seconds on one rank / rank-seconds on many."""
        if efficiency not in self._widest:
            self._widest[efficiency] = tuple(self._widest_of(unit, efficiency) for unit in range(self.num_units))
        row = self._widest[efficiency]
        return row[units_done] if units_done < len(row) else self.degrees[0]

    def longest_step(self, degree: int) -> float:
        """Wall seconds of the longest unit."""
        return self._longest[degree]

    def _widest_of(self, unit: int, efficiency: float) -> int:
        alone = self._seconds[1][unit]
        return max(
            degree
            for degree in self.degrees
            if degree == self.degrees[0] or alone >= efficiency * degree * self._seconds[degree][unit]
        )
