"""Metric families of the batches that engines run, from their heartbeats: exact counts since each engine started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from hhray.metrics import BATCH_SIZE, CLIPS_BY_DEGREE, PREEMPTIONS
from hhray.tasks import EngineRecord


def detail_of_batches(
    sizes: Mapping[int, int], degrees: Mapping[int, int], preemptions: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """What an engine's heartbeat says of its batches; keys are strings, as in JSON.

    Args:
        sizes: batches begun, by their clips.
        degrees: clips begun and not ended, by the ranks they run on.
        preemptions: batches that a plan moved or paused, by reason.
    """
    return {
        "batch_sizes": {str(size): count for size, count in sizes.items()},
        "clips_by_degree": {str(degree): count for degree, count in degrees.items()},
        "preemptions": dict(preemptions),
    }


def batch_families(engines: Sequence[EngineRecord]) -> Iterator[Metric]:
    """The families of hhray.metrics.OF_BATCHES for engines with a fresh heartbeat."""
    sizes = HistogramMetricFamily(BATCH_SIZE.name, BATCH_SIZE.help, labels=BATCH_SIZE.labels)
    preemptions = CounterMetricFamily(PREEMPTIONS.name, PREEMPTIONS.help, labels=PREEMPTIONS.labels)
    degrees: Counter[str] = Counter()
    for engine in engines:
        counts = {int(size): count for size, count in engine.detail.get("batch_sizes", {}).items()}
        sizes.add_metric((engine.engine_id,), _buckets(counts), sum(size * count for size, count in counts.items()))
        degrees.update(engine.detail.get("clips_by_degree", {}))
        for reason, count in sorted(engine.detail.get("preemptions", {}).items()):
            preemptions.add_metric((engine.engine_id, reason), count)
    gauge = GaugeMetricFamily(CLIPS_BY_DEGREE.name, CLIPS_BY_DEGREE.help, labels=CLIPS_BY_DEGREE.labels)
    for degree, clips in sorted(degrees.items()):
        gauge.add_metric((degree,), clips)
    yield from (sizes, gauge, preemptions)


def _buckets(counts: Mapping[int, int]) -> list[tuple[str, float]]:
    """Cumulative, with the bounds' names."""
    bounds = (*BATCH_SIZE.buckets, float("inf"))
    below = [0.0, *BATCH_SIZE.buckets]
    each = [
        sum(count for size, count in counts.items() if low < size <= high)
        for low, high in zip(below, bounds, strict=True)
    ]
    names = [*map(str, BATCH_SIZE.buckets), "+Inf"]
    return [(name, float(count)) for name, count in zip(names, accumulate(each), strict=True)]
