"""Every metric of hhray: name, help, labels, buckets. The store rolls them up; the ingress renders them.

Histogram rows of clips are built from terminal tasks only, in the transaction that ends the task, so that `_count` and
`_sum` are exact and the same from any ingress replica, also after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass

BUCKETS_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 900.0)
CLIP_LABELS = ("resolution", "duration", "mode", "outcome")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


CLIP_SECONDS = Metric(
    "hhray_clip_seconds",
    "histogram",
    "Seconds per clip, end to end: from submit to the end of the task.",
    CLIP_LABELS,
    BUCKETS_SECONDS,
)
STAGE_SECONDS = Metric(
    "hhray_stage_seconds",
    "histogram",
    "Seconds per clip spent in one stage.",
    ("stage", *CLIP_LABELS),
    BUCKETS_SECONDS,
)
RATIO_BUCKETS = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0)
# A histogram that the router counts and the store keeps, not a gauge: every ingress replica shows the same counts, and
# what is asked of them (quantiles, sum / count, shares) stays right where the same counts are added up several times.
PREDICTED_RATIO = Metric(
    "hhray_predicted_ratio",
    "histogram",
    "Actual seconds of a command of steps, or of a decode, over those the cost model predicted with its corrections; "
    "what compiled, or met a shape for the first time, is left out.",
    ("resolution", "stage"),
    RATIO_BUCKETS,
)
QUEUE_DEPTH = Metric("hhray_queue_depth", "gauge", "Tasks waiting for an engine.")
QUEUED_GPU_SECONDS = Metric("hhray_queued_gpu_seconds", "gauge", "Estimated GPU-seconds of the waiting tasks.")
RUNNING_CLIPS = Metric("hhray_running_clips", "gauge", "Tasks running now.")
RUNNING_GPU_SECONDS = Metric("hhray_running_gpu_seconds", "gauge", "Estimated GPU-seconds of the running tasks.")
ENGINES = Metric("hhray_engines", "gauge", "Engines with a fresh heartbeat.", ("state",))
ENGINES_DESIRED = Metric(
    "hhray_engines_desired",
    "gauge",
    "Engines that the work there is asks for, within the bounds; how many come and go also depends on the windows.",
)
BUILD_INFO = Metric("hhray_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "preset"))

COLD_SHAPES = Metric(
    "hhray_cold_shapes",
    "counter",
    "Passes whose shape neither a clip nor the warm-up had run before on that engine's gang.",
    ("engine",),
)

BATCH_SIZE = Metric(
    "hhray_batch_size",
    "histogram",
    "Clips of each batch that was begun, by engine, since that engine started.",
    ("engine",),
    (1.0, 2.0, 4.0, 8.0, 16.0),
)
CLIPS_BY_DEGREE = Metric(
    "hhray_clips_by_degree", "gauge", "Clips begun, by the number of ranks they run on; 0: paused.", ("degree",)
)
PREEMPTIONS = Metric(
    "hhray_preemptions",
    "counter",
    "Batches that a plan demoted, promoted, paused or resumed, by engine, since that engine started.",
    ("engine", "reason"),
)

HISTOGRAMS = (CLIP_SECONDS, STAGE_SECONDS, PREDICTED_RATIO)
GAUGES = (QUEUE_DEPTH, QUEUED_GPU_SECONDS, RUNNING_CLIPS, RUNNING_GPU_SECONDS, ENGINES, ENGINES_DESIRED, BUILD_INFO)
COUNTERS = (COLD_SHAPES,)
OF_BATCHES = (BATCH_SIZE, CLIPS_BY_DEGREE, PREEMPTIONS)  # from the engines' heartbeats
ALL = HISTOGRAMS + GAUGES + COUNTERS + OF_BATCHES


@dataclass(frozen=True, slots=True)
class RollupRow:
    """One labelled histogram as the store keeps it: `counts[i]` observations in bucket i (not cumulative; the last
    bucket is +Inf), their exact number and sum, in seconds or, of PREDICTED_RATIO, in ratios."""

    metric: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    sum_seconds: float

    @property
    def count(self) -> int:
        return sum(self.counts)
