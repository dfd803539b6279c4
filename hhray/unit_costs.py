"""The cost of a bucket's units, looked up: what the scheduler asks thousands of times a second.

A clip's units are its denoising steps over all passes, in order, then one chunk of decode for each second of video.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hhray.cost import CostModel, decode_chunks
from hhray.memory_parts import Stage
from hhray.request import ShapeKey


@dataclass(frozen=True, slots=True)
class UnitCostTable:
    """Predicted seconds of every unit of a bucket (`str(ShapeKey)`), by degree and batch; computed once for each.

    All methods raise ValueError for what is no bucket, IndexError for a unit that the bucket has not.
    """

    cost: CostModel
    _seconds: dict[tuple[str, int, int], tuple[float, ...]] = field(default_factory=dict)
    _stages: dict[str, tuple[Stage, ...]] = field(default_factory=dict)

    def num_units(self, bucket: str) -> int:
        """Denoising steps over all passes, and decode chunks."""
        return len(self.stages(bucket))

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
            key = ShapeKey.parse(bucket)
            steps = self.cost.steps_seconds(key.geometry, degree, items, key.mode)
            chunks = decode_chunks(key.geometry)
            decode = self.cost.decode_seconds(key.geometry, items, degree) / chunks
            known = self._seconds[bucket, degree, items] = (*steps, *(decode,) * chunks)
        return known

    def stages(self, bucket: str) -> tuple[Stage, ...]:
        """What each unit belongs to: the transformer of its pass, or the decode."""
        known = self._stages.get(bucket)
        if known is None:
            geometry = ShapeKey.parse(bucket).geometry
            passes = self.cost.served.passes(geometry)
            steps = tuple(one.stage for one in passes for _ in range(one.num_steps))
            known = self._stages[bucket] = (*steps, *(Stage.DECODE,) * decode_chunks(geometry))
        return known
