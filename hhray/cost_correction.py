"""The cost model corrected by what engines measure, by class of work: bucket x degree x batch, or coarser ones.

The correction of a class is the median of its last 15 ratios of actual to predicted seconds. The median is the robust
mean of the highest breakdown point (Hampel, Annals of Mathematical Statistics 42, 1971): up to 7 wild values - a first
compile, a process that was suspended - do not move it beyond the range of the others, and after 8 of a new kind it is
theirs, so that it follows a machine that changes. It is taken over when it has moved by more than 2 %. A class with
fewer than 3 ratios takes the next coarser one's.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from hhray.memory_parts import Stage
from hhray.request import ShapeKey

KEPT, LEAST = 15, 3
MOVED = 0.02  # of a median; less is not worth computing costs anew
MOST_CLASSES = 20_000
ROW, SEPARATOR, ANY = "correction", "|", "*"


@dataclass(frozen=True, slots=True)
class WorkClass:
    """What a measured ratio is filed under: a stage of a bucket on blocks of `degree` ranks, in batches of `items`."""

    stage: Stage
    bucket: str
    degree: int
    items: int

    def classes(self) -> Iterator[str]:
        """The class itself, then the coarser ones: any batch, any shape of the tier, any tier, any degree."""
        tier = ShapeKey.parse(self.bucket).resolution.value
        for parts in (
            (self.bucket, str(self.degree), str(self.items)),
            (self.bucket, str(self.degree), ANY),
            (tier, str(self.degree), ANY),
            (ANY, str(self.degree), ANY),
            (ANY, ANY, ANY),
        ):
            yield SEPARATOR.join((ROW, self.stage.value, *parts))


class Corrections:
    """Ratios by class, as plain values: no clock, no database. `rows` are what a store keeps."""

    def __init__(self) -> None:
        self._ratios: dict[str, deque[float]] = {}
        self._medians: dict[str, float] = {}
        self._changed: set[str] = set()

    @classmethod
    def from_rows(cls, rows: Mapping[str, str]) -> Corrections:
        """The inverse of `rows`; rows that are none of these, or damaged, are left out.

        Medians are taken anew: a correction that had not yet moved by 2 % is there at once.
        """
        made = cls()
        for key, text in rows.items():
            try:
                ratios = [float(value) for value in json.loads(text)]
            except (ValueError, TypeError):
                continue
            if ratios and key.startswith(ROW + SEPARATOR) and all(map(_usable, ratios)):
                made._ratios[key] = deque(ratios, KEPT)
                made._settle(key)
        return made

    def observe(self, work: WorkClass, ratio: float) -> bool:
        """File actual / predicted of the uncorrected model; whether any class's correction is now another.

        A ratio that is no positive number is not a measurement and is left out.
        """
        if not _usable(ratio):
            return False
        moved = False
        for key in work.classes():
            if key not in self._ratios and len(self._ratios) >= MOST_CLASSES:
                continue  # coarser classes are few, and were there before
            self._ratios.setdefault(key, deque(maxlen=KEPT)).append(float(f"{ratio:.4g}"))
            self._changed.add(key)
            moved = self._settle(key) or moved
        return moved

    def factor(self, work: WorkClass) -> float:
        """What predicted seconds of this class are multiplied with: of the finest class with enough ratios, else 1."""
        return next((self._medians[key] for key in work.classes() if key in self._medians), 1.0)

    def rows(self) -> dict[str, str]:
        """Every class as JSON text: its last ratios, the oldest first."""
        return {key: json.dumps(list(ratios)) for key, ratios in self._ratios.items()}

    def take_changed(self) -> dict[str, str]:
        """The rows that have changed since the last call."""
        changed, self._changed = self._changed, set()
        return {key: json.dumps(list(self._ratios[key])) for key in sorted(changed)}

    def _settle(self, key: str) -> bool:
        ratios = self._ratios[key]
        if len(ratios) < LEAST:
            return False
        before, now = self._medians.get(key), median(ratios)
        if before is not None and abs(now / before - 1) <= MOVED:
            return False
        self._medians[key] = now
        return True


def _usable(ratio: float) -> bool:
    return math.isfinite(ratio) and ratio > 0
