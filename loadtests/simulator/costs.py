"""Seconds of every unit of a clip, read from a file; what the scheduler is told and what the simulated gang takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hhray.errors import ConfigError
from hhray.request import ShapeKey

COSTS = Path(__file__).parent / "costs"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of a clip: wall seconds on one rank, and the efficiency by degree of its kind of work."""

    seconds: float
    efficiency: dict[int, float]


class CostTable:
    """`UnitCosts` from a YAML file of `costs/`: base steps, super-resolution steps, then a chunk per second of video.

    Raises:
        ConfigError: the file has no row for a bucket, or no efficiency for a degree.
    """

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw
        self._units: dict[str, tuple[Unit, ...]] = {}

    @classmethod
    def load(cls, path: Path) -> CostTable:
        """Read a cost file."""
        return cls(yaml.safe_load(path.read_text(encoding="utf-8")))

    def num_units(self, bucket: str) -> int:
        """Denoising steps over all passes, and decode chunks."""
        return len(self._of(bucket))

    def unit_seconds(self, bucket: str, unit: int, degree: int, items: int = 1) -> float:
        """Wall seconds of one unit of a batch of `items` clips on a block of `degree` ranks."""
        one = self._of(bucket)[unit]
        if degree not in one.efficiency:
            raise ConfigError(
                f"the cost file knows no efficiency on {degree} ranks, only on {sorted(one.efficiency)}; add it there"
            )
        gain = 1.0 if items == 1 else self._raw["packing_gain"]
        return float(items * one.seconds / (degree * one.efficiency[degree] * gain))

    def alone_seconds(self, bucket: str) -> float:
        """Wall seconds of one clip on one idle rank."""
        return sum(unit.seconds for unit in self._of(bucket))

    def _of(self, bucket: str) -> tuple[Unit, ...]:
        if bucket not in self._units:
            self._units[bucket] = self._read(ShapeKey.parse(bucket))
        return self._units[bucket]

    def _read(self, key: ShapeKey) -> tuple[Unit, ...]:
        try:
            base, refine, decode = self._raw["seconds"][key.resolution.value][key.duration]
        except KeyError as error:
            raise ConfigError(
                f"the cost file has no row {error} for {key}; add it, or leave it out of the mix"
            ) from None
        raw, efficiency = self._raw, self._raw["efficiency"]
        return (
            *(Unit(base, efficiency["base"]) for _ in range(raw["base_steps"])),
            *(Unit(refine, efficiency["refine"]) for _ in range(raw["refine_steps"] if refine else 0)),
            *(Unit(decode, efficiency["decode"]) for _ in range(key.duration)),
        )
