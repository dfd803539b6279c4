"""What router and engines tell each other: the state of a gang, and what it shall do next. Plain values.

A clip's work is cut into **units**: its denoising steps over all passes, in order, then the chunks of its decode.
Between two units, and only there, it may be paused or go on on another block; the instant is a **boundary**.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from hhray.blocks import Block


class UnitCosts(Protocol):
    """Predicted seconds of every unit of a clip of a bucket (`str(ShapeKey)`), by degree and batch."""

    def num_units(self, bucket: str) -> int:
        """Denoising steps over all passes, and decode chunks."""

    def unit_seconds(self, bucket: str, unit: int, degree: int, items: int = 1) -> float:
        """Wall seconds of one unit of a batch of `items` clips on a block of `degree` ranks."""

    def alone_seconds(self, bucket: str) -> float:
        """Wall seconds of one clip on one idle rank: what latencies and deadlines are measured in."""


class Measurement(NamedTuple):
    """What a command of an engine took: `units` units from `first` of a batch of `items` clips of a bucket, on `degree`
    ranks, in so many wall seconds; `cold`: it met a shape for the first time, which says nothing about the next."""

    bucket: str
    first: int
    units: int
    degree: int
    items: int
    seconds: float
    cold: bool


@dataclass(frozen=True, slots=True)
class RunningBatch:
    """A batch that a gang has begun, as it is at this instant.

    `block` is where its last unit ran or its current one runs; None: paused, its latents lie in host memory. `busy`:
    a unit runs now, and ends at about `free_at` (seconds, the caller's clock); else the batch stands at a boundary.
    `pinned`: it must stay on its block (a deterministic clip), or its file is being written by it. `pauses` counts how
    often it was paused. `tenants` are those of its tasks, in order; empty: all are `tenant`'s.
    """

    batch_id: str
    task_ids: tuple[str, ...]
    bucket: str
    units_done: int
    block: Block | None
    busy: bool
    free_at: float = 0.0
    pinned: bool = False
    pauses: int = 0
    tenant: str = ""
    submitted_at: float = 0.0
    deadline: float = 0.0
    reserved: bool = False
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GangState:
    """One engine's gang: `num_ranks` ranks and the batches they have begun. Ranks in no busy batch are free.

    `warm` names the buckets whose shapes it has run since it started. `tickets` are those it holds for batches to
    come, in order: no more than so many can be started; None: any number. `least_ranks` says, by tier and length
    (`tier_key`), on how many ranks a clip needs to be for its memory; what it does not name fits on one.
    """

    engine_id: str
    num_ranks: int
    batches: tuple[RunningBatch, ...] = ()
    warm: frozenset[str] = frozenset()
    tickets: tuple[str, ...] | None = None
    least_ranks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """Tasks of one bucket to claim and begin as one batch on `block`."""

    task_ids: tuple[str, ...]
    bucket: str
    block: Block


@dataclass(frozen=True, slots=True)
class GangPlan:
    """What a gang shall do now. `blocks` names, for every batch at a boundary, where its next unit runs; None: paused.

    Batches that are busy are not named: they are asked about at their own boundary. Blocks of `starts`, of `blocks` and
    of busy batches never overlap. `because` says why a batch was moved or paused, for the log and the metrics:
    "demoted", "promoted", "paused", "resumed". `waiting` tasks stay in the queue; an engine returns tickets beyond
    them.
    """

    starts: tuple[Start, ...] = ()
    blocks: Mapping[str, Block | None] = field(default_factory=dict)
    because: Mapping[str, str] = field(default_factory=dict)
    waiting: int = 0
