"""The router's policy: the oldest first, one bucket a batch, packing within limits."""

from __future__ import annotations

import time

from deployment.scheduling import BatchLimits, QueueIndex
from hhray.model_size import EMBEDDED_SHARE, preset
from hhray.served_model import ServedModel
from hhray.tasks import QueuedTask

SHORT = "t2v/256P/16:9/3"
OTHER = "t2v/256P/1:1/3"
LONG = "t2v/256P/16:9/15"
TINY = ServedModel(preset("tiny"))
LIMITS = BatchLimits(TINY, max_clips=4, max_tokens=8192)


def queued(name: str, bucket: str, at: float, work: float = 1.0) -> QueuedTask:
    return QueuedTask(name, bucket, at, work, "tenant", int(at * 10))


def index_of(*tasks: QueuedTask) -> QueueIndex:
    index = QueueIndex()
    index.add(tasks)
    return index


def test_nothing_waiting_gives_no_assignment() -> None:
    assert QueueIndex().take(LIMITS, 2, 1) is None


def test_the_bucket_of_the_oldest_task_goes_first_and_only_its_tasks_are_packed() -> None:
    index = index_of(queued("b", OTHER, 2), queued("a", SHORT, 1), queued("c", SHORT, 3))
    first = index.take(LIMITS, 2, 1)
    assert first is not None
    assert first.task_ids == ("a", "c")
    assert (first.bucket, first.ranks) == (SHORT, 2)
    second = index.take(LIMITS, 2, 1)
    assert second is not None
    assert second.task_ids == ("b",)
    assert index.take(LIMITS, 2, 1) is None


def test_packing_stops_at_the_token_limit_and_a_long_clip_runs_alone() -> None:
    assert LIMITS.clips(SHORT) == 3  # 2,240 video + 77 audio + text tokens each
    assert LIMITS.clips(LONG) == 1
    index = index_of(*(queued(str(i), SHORT, i) for i in range(5)))
    sizes = []
    while (batch := index.take(LIMITS, 2, 1)) is not None:
        sizes.append(len(batch.task_ids))
    assert sizes == [3, 2]


def test_packing_leaves_work_for_the_other_engines() -> None:
    index = index_of(*(queued(str(i), SHORT, i) for i in range(4)))
    batches = [index.take(LIMITS, 2, 4) for _ in range(4)]
    assert [batch.task_ids for batch in batches if batch] == [("0",), ("1",), ("2",), ("3",)]


def test_a_forgotten_task_is_never_assigned() -> None:
    index = index_of(queued("a", SHORT, 1), queued("b", SHORT, 2))
    index.discard("a")
    assert len(index) == 1
    batch = index.take(LIMITS, 2, 1)
    assert batch is not None
    assert batch.task_ids == ("b",)


def test_adding_twice_keeps_one_and_a_reconciliation_replaces_all() -> None:
    index = index_of(queued("a", SHORT, 1, work=5.0))
    index.add([queued("a", SHORT, 1, work=5.0)])
    assert len(index) == 1
    assert index.gpu_seconds == 5.0
    index.replace([queued("z", OTHER, 9, work=2.0)])
    assert index.gpu_seconds == 2.0
    batch = index.take(LIMITS, 1, 1)
    assert batch is not None
    assert batch.task_ids == ("z",)
    assert index.take(LIMITS, 1, 1) is None


def test_a_requeued_task_keeps_its_place_by_age() -> None:
    index = index_of(queued("young", SHORT, 5))
    index.add([QueuedTask("old", OTHER, 1.0, 1.0, "tenant", 999)])
    batch = index.take(LIMITS, 2, 1)
    assert batch is not None
    assert batch.task_ids == ("old",)


def test_taking_from_a_long_queue_is_quick() -> None:
    index = index_of(*(queued(str(i), SHORT if i % 2 else OTHER, i) for i in range(2_000)))
    start = time.perf_counter()
    taken = 0
    while (batch := index.take(BatchLimits(TINY, 1, 1), 2, 1)) is not None:
        taken += len(batch.task_ids)
    assert taken == 2_000
    assert time.perf_counter() - start < 5.0


def test_a_network_that_draws_small_pictures_packs_long_clips_too() -> None:
    small = BatchLimits(ServedModel(preset("embedded"), native_share=EMBEDDED_SHARE), max_clips=4, max_tokens=8192)
    assert (LIMITS.clips(LONG), small.clips(LONG)) == (1, 4)
