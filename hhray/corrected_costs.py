"""Unit costs as the scheduler takes them: the cost model's, times what was measured for their class."""

from __future__ import annotations

from dataclasses import dataclass

from hhray.cost_correction import Corrections, WorkClass
from hhray.memory_parts import Stage
from hhray.unit_costs import UnitCostTable


@dataclass(frozen=True, slots=True)
class Measured:
    """One command as it was measured: actual seconds over those that were predicted with all corrections until then."""

    stage: Stage
    bucket: str
    ratio: float


class CorrectedCosts:
    """Predicted seconds of every unit of a bucket, by degree and batch, corrected by class.

    Whatever was measured, a block of n ranks never makes a step in less than 1/n of one rank's time, and a batch never
    takes less than one clip: noise must not make a wide block or a packed batch look better than it can be.

    All methods raise ValueError for what is no bucket, IndexError for a unit that the bucket has not.
    """

    def __init__(self, table: UnitCostTable, corrections: Corrections | None = None) -> None:
        self.table = table
        self.corrections = Corrections() if corrections is None else corrections
        self._seconds: dict[tuple[str, int, int], tuple[float, ...]] = {}

    def go_on_from(self, corrections: Corrections) -> None:
        """Take over other corrections, such as those of the process before this one."""
        self.corrections = corrections
        self._seconds.clear()

    def num_units(self, bucket: str) -> int:
        """Denoising steps over all passes, and decode chunks."""
        return self.table.num_units(bucket)

    def unit_seconds(self, bucket: str, unit: int, degree: int, items: int = 1) -> float:
        """Wall seconds of one unit of a batch of `items` clips on a block of `degree` ranks."""
        try:
            return self._seconds[bucket, degree, items][unit]
        except KeyError:
            return self.units(bucket, degree, items)[unit]

    def alone_seconds(self, bucket: str) -> float:
        """Wall seconds of one clip on one idle rank: what latencies and deadlines are measured in."""
        return sum(self.units(bucket, 1, 1))

    def units(self, bucket: str, degree: int, items: int) -> tuple[float, ...]:
        """Wall seconds of every unit."""
        known = self._seconds.get((bucket, degree, items))
        if known is None:
            known = self._corrected(bucket, degree, items)
            if degree > 1:
                alone = self.units(bucket, 1, items)
                known = tuple(max(one, other / degree) for one, other in zip(known, alone, strict=True))
            if items > 1:
                single = self.units(bucket, degree, 1)
                known = tuple(max(one, other) for one, other in zip(known, single, strict=True))
            self._seconds[bucket, degree, items] = known
        return known

    def observe(
        self, bucket: str, units: range, degree: int, items: int, seconds: float, *, cold: bool = False
    ) -> Measured | None:
        """Learn from a command that made `units`, which follow one another, in so many seconds.

        None, and nothing learnt: a `cold` command (it compiled, or met a shape for the first time), one without units
        or across two stages, or seconds that cannot be.
        """
        stages = set(self.table.stages(bucket)[units.start : units.stop])
        if cold or len(stages) != 1 or not seconds > 0:
            return None
        work = WorkClass(stages.pop(), bucket, degree, items)
        plain, said = (sum(known[unit] for unit in units) for known in self._both(bucket, degree, items))
        if self.corrections.observe(work, seconds / plain):
            self._seconds.clear()
        return Measured(work.stage, bucket, seconds / said)

    def _both(self, bucket: str, degree: int, items: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Seconds of every unit, uncorrected and corrected."""
        return self.table.units(bucket, degree, items), self.units(bucket, degree, items)

    def _corrected(self, bucket: str, degree: int, items: int) -> tuple[float, ...]:
        stages = self.table.stages(bucket)
        factors = {
            stage: self.corrections.factor(WorkClass(stage, bucket, degree, items)) for stage in dict.fromkeys(stages)
        }
        seconds = self.table.units(bucket, degree, items)
        return tuple(factors[stage] * one for stage, one in zip(stages, seconds, strict=True))
