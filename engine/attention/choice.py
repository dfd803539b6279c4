"""Which backend runs for which shape: measured at warm-up, looked up ever after."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from engine.attention.bias import biases_of
from engine.attention.blocks import QueryBlock
from engine.attention.head_kind import Backend, HeadKind
from engine.attention.probe import Found, find_backends

logger = logging.getLogger(__name__)

RUNS = 3


@dataclass(frozen=True, slots=True)
class WorkShape:
    """How much attention: queries, pairs of a query and a key it sees, ranges of keys of the block with most."""

    queries: int
    pairs: int
    ranges: int

    def __str__(self) -> str:
        apart = f" in {self.ranges} ranges" if self.ranges > 1 else ""
        return f"{self.queries} queries x {round(self.pairs / max(self.queries, 1))} keys{apart}"

    def distance(self, other: WorkShape) -> tuple[bool, float]:
        """How far another shape is from being measured by this one: as many ranges first, then about as many pairs."""
        return self.ranges != other.ranges, abs(math.log((self.pairs + 1) / (other.pairs + 1)))


@functools.lru_cache(maxsize=128)
def work_shape(blocks: tuple[QueryBlock, ...]) -> WorkShape:
    """The size of attention by these blocks."""
    pairs = sum(len(block.queries) * sum(map(len, block.keys)) for block in blocks)
    return WorkShape(sum(len(block.queries) for block in blocks), pairs, max(len(block.keys) for block in blocks))


@dataclass(slots=True)
class _Table:
    """What is known of one kind of heads: seconds of each backend for each shape that was measured."""

    found: Found
    seconds: dict[WorkShape, dict[str, float]] = field(default_factory=dict)
    looked_up: dict[WorkShape, Backend] = field(default_factory=dict)

    def fastest(self, shape: WorkShape) -> Backend:
        """Of the measured shape next to this one; with none measured the preferred backend."""
        if shape not in self.looked_up:
            self.looked_up[shape] = self.found.backends[0]
            if self.seconds:
                times = self.seconds[min(self.seconds, key=shape.distance)]
                self.looked_up[shape] = min(
                    (one for one in self.found.backends if one.name in times), key=lambda one: times[one.name]
                )
        return self.looked_up[shape]


class BackendChoice:
    """The choice of one process. `pinned`: the preferred backend always, so that runs can be repeated bit by bit.
    `compiled`, set before the first call: measure backends that must be compiled first too, beside what runs.

    On a CPU it is always pinned: what a test or a user sees there must not depend on what else the machine does.
    """

    def __init__(
        self,
        find: Callable[[HeadKind, bool], Found] = find_backends,
        clock: Callable[[Callable[[], object], torch.device], float] | None = None,
    ) -> None:
        self.pinned = self.compiled = False
        self._find, self._clock = find, clock or best_seconds
        self._tables: dict[HeadKind, _Table] = {}

    def backend(self, kind: HeadKind, blocks: tuple[QueryBlock, ...]) -> Backend:
        """What to run; nothing is measured here. The first call for a kind of heads probes."""
        table = self._table(kind)
        if self.pinned or not table.seconds:
            return table.found.backends[0]
        return table.fastest(work_shape(blocks))

    def measure(self, kind: HeadKind, blocks: tuple[QueryBlock, ...], num_keys: int) -> None:
        """Time every backend on random numbers of this shape; to be called between steps, at warm-up.

        A backend that fails, for want of memory say, is left out of the shape. Nothing happens where it is pinned.
        """
        table, shape = self._table(kind), work_shape(blocks)
        competing = (*table.found.backends, *table.found.measured)
        if self.pinned or kind.device.type == "cpu" or shape in table.seconds or len(competing) == 1:
            return
        seconds = {}
        for backend in competing:
            try:
                q, k, v = kind.random(shape.queries, num_keys)
                call = functools.partial(backend, q, k, v, biases_of(blocks, num_keys, kind.device))
                seconds[backend.name] = self._clock(call, kind.device)
            except (RuntimeError, ValueError) as error:
                logger.info("attention (%s, %s): no %s: %s", kind, shape, backend.name, str(error).partition("\n")[0])
        if any(backend.name in seconds for backend in table.found.backends):
            table.seconds[shape] = seconds
            table.looked_up.clear()

    def report(self) -> dict[str, str]:
        """What runs for which shape, and what cannot, for people."""
        lines: dict[str, str] = {}
        for kind, table in self._tables.items():
            lines[str(kind)] = table.found.backends[0].name + (" (pinned)" if self.pinned else "")
            for shape, times in () if self.pinned else table.seconds.items():
                chosen = table.fastest(shape).name
                ordered = sorted(times, key=lambda name: (name != chosen, times[name]))
                lines[f"{kind}, {shape}"] = ", ".join(f"{name} {1e3 * times[name]:.3g} ms" for name in ordered)
            lines |= {f"{kind}, not {name}": reason for name, reason in table.found.refused.items()}
        return lines

    def _table(self, kind: HeadKind) -> _Table:
        if kind not in self._tables:
            self._tables[kind] = _Table(self._find(kind, self.compiled))
        return self._tables[kind]


def best_seconds(call: Callable[[], object], device: torch.device) -> float:
    """The shortest of a few runs after one that warms up."""
    seconds = []
    for _ in range(RUNS + 1):
        _wait(device)
        began = time.perf_counter()
        call()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
