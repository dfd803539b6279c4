"""How wrong the cost model was: a histogram of actual / predicted seconds by tier and stage, as plain rows."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from hhray.corrected_costs import Measured
from hhray.metrics import PREDICTED_RATIO, RATIO_BUCKETS, RollupRow
from hhray.request import ShapeKey

ROW, SEPARATOR = "ratio", "|"
Labels = tuple[str, str]
MILLIONTHS = 1_000_000  # sums are whole numbers, the same in whatever order ratios come


@dataclass(slots=True)
class _Series:
    counts: list[int] = field(default_factory=lambda: [0] * (len(RATIO_BUCKETS) + 1))
    millionths: int = 0


class PredictedRatios:
    """What one `writer` has counted; its rows carry its name, so that several may keep theirs in one store."""

    def __init__(self, writer: str, rows: Mapping[str, str] | None = None) -> None:
        self.writer = writer
        own = SEPARATOR.join((ROW, writer, ""))
        mine = {key: text for key, text in (rows or {}).items() if key.startswith(own)}
        self._series = _added_up(mine)
        self._changed: set[Labels] = set()

    def observe(self, measured: Measured) -> None:
        """Count one command."""
        labels = (ShapeKey.parse(measured.bucket).resolution.value, measured.stage.value)
        series = self._series.setdefault(labels, _Series())
        series.counts[bisect_left(RATIO_BUCKETS, measured.ratio)] += 1
        series.millionths += round(measured.ratio * MILLIONTHS)
        self._changed.add(labels)

    def take_changed(self) -> dict[str, str]:
        """The rows that have changed since the last call, as JSON text."""
        changed, self._changed = self._changed, set()
        return {SEPARATOR.join((ROW, self.writer, *labels)): _text(self._series[labels]) for labels in sorted(changed)}


def ratio_histograms(rows: Mapping[str, str]) -> list[RollupRow]:
    """The rows of all writers added up, for the metrics; rows that are none of these, or damaged, are left out."""
    return [
        RollupRow(PREDICTED_RATIO.name, labels, tuple(series.counts), series.millionths / MILLIONTHS)
        for labels, series in sorted(_added_up(rows).items())
    ]


def _text(series: _Series) -> str:
    return json.dumps({"counts": series.counts, "millionths": series.millionths})


def _added_up(rows: Mapping[str, str]) -> dict[Labels, _Series]:
    found: dict[Labels, _Series] = {}
    for key, text in rows.items():
        parts = key.split(SEPARATOR)
        if parts[0] != ROW or len(parts) != 4:
            continue
        try:
            value = json.loads(text)
            counts, millionths = [int(count) for count in value["counts"]], int(value["millionths"])
        except (ValueError, TypeError, KeyError):
            continue
        if len(counts) == len(RATIO_BUCKETS) + 1:  # another release may have had other buckets
            series = found.setdefault((parts[2], parts[3]), _Series())
            series.counts = [one + more for one, more in zip(series.counts, counts, strict=True)]
            series.millionths += millionths
    return found
