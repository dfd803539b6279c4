"""GET /metrics: the Prometheus text of what the store knows, exact and the same from every ingress replica."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from deployment.batch_metrics import batch_families
from deployment.store.base import TaskStore
from hhray import __version__, metrics
from hhray.predicted_ratio import ratio_histograms
from hhray.tasks import EngineRecord

ENGINE_FRESH_SECONDS = 15.0


class ClipCollector(Collector):
    """Reads the store at each scrape; keeps nothing. `preset` is the model preset this server runs; `desired_engines`
    says how many engines the work in the store asks for.

    `collect` raises StoreUnavailable when the database does not answer.
    """

    def __init__(self, store: TaskStore, preset: str, desired_engines: Callable[[], int]) -> None:
        self._store, self._preset = store, preset
        self._desired_engines = desired_engines

    def collect(self) -> Iterator[Metric]:
        """Every family of hhray.metrics.ALL, also those without a series yet."""
        yield from self._histograms()
        engines = self._store.engines(ENGINE_FRESH_SECONDS)
        yield from self._gauges(engines)
        yield from self._counters(engines)
        yield from batch_families(engines)

    def _histograms(self) -> Iterator[Metric]:
        rows = [*self._store.metric_rows(), *ratio_histograms(self._store.costs())]
        for metric in metrics.HISTOGRAMS:
            family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for row in rows:
                if row.metric == metric.name:
                    limits = (*map(str, metric.buckets), "+Inf")
                    buckets = list(zip(limits, accumulate(row.counts), strict=True))
                    family.add_metric(row.labels, buckets, row.sum_seconds)
            yield family

    def _gauges(self, engines: Sequence[EngineRecord]) -> Iterator[Metric]:
        depth = self._store.depth()
        states = Counter(engine.state for engine in engines)
        values: dict[metrics.Metric, dict[tuple[str, ...], float]] = {
            metrics.QUEUE_DEPTH: {(): depth.queued},
            metrics.QUEUED_GPU_SECONDS: {(): depth.queued_gpu_seconds},
            metrics.RUNNING_CLIPS: {(): depth.running},
            metrics.RUNNING_GPU_SECONDS: {(): depth.running_gpu_seconds},
            metrics.ENGINES: {(state,): count for state, count in sorted(states.items())},
            metrics.ENGINES_DESIRED: {(): self._desired_engines()},
            metrics.BUILD_INFO: {(__version__, self._preset): 1},
        }
        for metric in metrics.GAUGES:
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in values[metric].items():
                family.add_metric(labels, value)
            yield family

    def _counters(self, engines: Sequence[EngineRecord]) -> Iterator[Metric]:
        family = CounterMetricFamily(
            metrics.COLD_SHAPES.name, metrics.COLD_SHAPES.help, labels=metrics.COLD_SHAPES.labels
        )
        for engine in engines:
            family.add_metric((engine.engine_id,), engine.detail.get("cold_shapes", 0))
        yield family


def render(store: TaskStore, preset: str, desired_engines: Callable[[], int]) -> tuple[bytes, str]:
    """Body and content type of GET /metrics.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    registry = CollectorRegistry()
    registry.register(ClipCollector(store, preset, desired_engines))
    return generate_latest(registry), CONTENT_TYPE_LATEST
