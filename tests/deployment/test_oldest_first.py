"""The plain scheduler's plans: what is free, who stays, who goes on."""

from __future__ import annotations

import pytest

from deployment.oldest_first import OldestFirst
from deployment.scheduler.values import GangState, RunningBatch, Start
from deployment.scheduling import BatchLimits
from hhray.blocks import Block
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.tasks import QueuedTask

SHAPES = ("t2v/256P/16:9/3", "t2v/256P/1:1/3", "t2v/256P/4:3/3")


@pytest.fixture
def scheduler() -> OldestFirst:
    made = OldestFirst(BatchLimits(ServedModel(preset("tiny")), 2, 8192))
    made.add([QueuedTask(f"t{age}", shape, age, 1.0, "tenant", age) for age, shape in enumerate(SHAPES)])
    return made


def batch(name: str, block: Block | None, *, busy: bool = False) -> RunningBatch:
    return RunningBatch(name, (name,), SHAPES[0], 1, block, busy)


def test_an_idle_gang_is_given_to_the_oldest_task_as_a_whole(scheduler: OldestFirst) -> None:
    plan = scheduler.plan(GangState("engine", 4, tickets=("a", "b")), 0.0)
    assert plan.starts == (Start(("t0",), SHAPES[0], Block(0, 4)),)
    assert len(scheduler) == 2


def test_no_more_starts_than_tickets_and_free_blocks(scheduler: OldestFirst) -> None:
    state = GangState("engine", 4, (batch("runs", Block(1, 1), busy=True),), tickets=("a", "b", "c"))
    assert [start.block for start in scheduler.plan(state, 0.0).starts] == [Block(2, 2), Block(0, 1)]
    assert scheduler.plan(GangState("engine", 4, tickets=()), 0.0).starts == ()
    assert len(scheduler) == 1


def test_who_stands_stays_and_who_is_paused_goes_on_before_anything_starts(scheduler: OldestFirst) -> None:
    batches = (batch("stands", Block(0, 2)), batch("busy", Block(2, 1), busy=True), batch("paused", None))
    plan = scheduler.plan(GangState("engine", 4, batches, tickets=("a",)), 0.0)
    assert plan.blocks == {"stands": Block(0, 2), "paused": Block(3, 1)}
    assert plan.because == {"paused": "resumed"}
    assert plan.starts == ()
