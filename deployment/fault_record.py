"""Faults of an engine's ranks, counted by rank, GPU and node. Pure: times are seconds since the epoch.

A GPU that failed twice within an hour is likely to fail again, and each time it takes a clip's work with it. Its
engine then takes no tickets but keeps its placement group: were it to leave, its replacement would be put on the very
GPU that has just become free. So the replacement lands elsewhere.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

QUARANTINED = "quarantined"
# Several GPUs of a node fail together when the node itself does: its power, its links, its driver.
NODE_FACTOR = 2


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault. `rank` and `gpu` are None and "" when nobody can say whose it was (a phase that hung)."""

    at: float
    node: str
    rank: int | None
    gpu: str
    what: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """A place with too many faults: `kind` is rank, gpu or node."""

    kind: str
    name: str
    strikes: int
    last: str


class FaultRecord:
    """Strikes of one engine within the last `window_seconds`; `limit` of a rank or a GPU, or twice as many of the node,
    are a verdict. `limit` 0: never."""

    def __init__(self, limit: int, window_seconds: float) -> None:
        self._limit, self._window = limit, window_seconds
        self._strikes: deque[Strike] = deque()

    def strike(self, at: float, node: str, rank: int | None, gpu: str, what: str) -> None:
        """Count a fault that cost the engine its gang."""
        self._strikes.append(Strike(at, node, rank, gpu, what))

    def suspects(self, now: float) -> list[Suspect]:
        """Places that should be avoided, the most specific kind first."""
        while self._strikes and self._strikes[0].at <= now - self._window:
            self._strikes.popleft()
        if not self._limit:
            return []
        strikes = list(self._strikes)
        last = {place: strike.what for strike in strikes for place in _places(strike)}
        counts = Counter(place for strike in strikes for place in _places(strike))
        found = [Suspect(kind, name, count, last[kind, name]) for (kind, name), count in counts.items()]
        order = ("gpu", "rank", "node")
        over = [one for one in found if one.strikes >= self._limit * (NODE_FACTOR if one.kind == "node" else 1)]
        return sorted(over, key=lambda one: (order.index(one.kind), one.name))

    def quarantined(self, now: float) -> bool:
        """Whether the engine should take no work, if another can."""
        return bool(self.suspects(now))

    def report(self, now: float) -> list[dict[str, Any]]:
        """The suspects as plain values, for the heartbeat."""
        return [
            {"kind": one.kind, "name": one.name, "strikes": one.strikes, "last": one.last} for one in self.suspects(now)
        ]


def others_can_work(states: Iterable[tuple[str, str]], engine_id: str) -> bool:
    """Whether an engine other than this one takes work, by (id, state) of all that live. The last one works on: a
    suspect GPU makes clips most of the time, no GPU makes none."""
    return any(other != engine_id and state in ("ready", "busy") for other, state in states)


def _places(strike: Strike) -> list[tuple[str, str]]:
    places = [("node", strike.node)]
    if strike.gpu:
        places.append(("gpu", strike.gpu))
    if strike.rank is not None:
        places.append(("rank", str(strike.rank)))
    return places
