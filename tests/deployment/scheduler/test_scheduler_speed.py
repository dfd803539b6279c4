"""O(log n): what a decision costs with 100,000 tasks waiting, of 1,000 tenants and all shapes.

A decision is one task chosen; the slowest is of a whole plan, which may choose a batch of several.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterator

import pytest

from hhray.blocks import Block
from hhray.tasks import QueuedTask
from scheduler_cases import batch, gang, scheduler, task

NUM_TASKS = 100_000
DECISIONS = 1_000
REPEATS = 5


@pytest.fixture
def no_collection() -> Iterator[None]:
    """A collection of all objects of the process is not the scheduler's time."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_a_decision_over_100_000_tasks_takes_50_us_on_average_and_1_ms_at_worst() -> None:
    chance = random.Random(6)
    buckets = [f"t2v/{tier}/16:9/{s}" for tier in ("256P", "480P", "720P", "1080P") for s in (3, 5, 8, 10, 15)]
    tasks = [
        task(str(n), chance.choice(buckets), at=n / 1000, tenant=str(chance.randrange(1000)), sequence=n)
        for n in range(NUM_TASKS)
    ]
    # The same decisions several times, and the least of each: what else the machine does is left out.
    runs = [decision_seconds(tasks) for _ in range(REPEATS)]
    times = [min(seconds for seconds, _ in same) for same in zip(*runs, strict=True)]
    mean, worst = sum(times) / sum(chosen for _, chosen in runs[0]), max(times)
    print(f"{1e6 * mean:.1f} us a decision, the slowest {1e3 * worst:.3f} ms")
    assert mean <= 50e-6
    assert worst <= 1e-3


def decision_seconds(tasks: list[QueuedTask]) -> list[tuple[float, int]]:
    """Seconds of each plan and the tasks it chose.

    One rank after another becomes free; the clock goes on, so that clips become late while they wait.
    """
    plan = scheduler(*tasks).plan
    state = gang(*(batch(f"busy-{rank}", block=Block(rank, 1), busy=True, at=100.0) for rank in range(1, 8)))
    times = []
    for number in range(DECISIONS):
        began = time.perf_counter()
        made = plan(state, 100.0 + number / 100)
        times.append((time.perf_counter() - began, len(made.starts[0].task_ids)))
    return times
