"""How many engines there should be, in GPU-seconds and never in requests: a pure function of plain values.

The work that waits and that still runs is to be done within a drain target, and the work that keeps arriving is to keep
the engines at most so busy:

    engines = ceil((queued + remaining) / (drain target x capacity) + arrival rate / (utilisation target x capacity))

with the capacity of an engine = ranks x parallel efficiency, in GPU-seconds a second. The first term is the backlog per
instance of queue-driven autoscaling, the second Little's law. What comes out must hold for a window before it is
followed, a short one up and a long one down; the way to zero has a window of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

# An engine that goes must have been idle for longer than its successor takes to come.
COLD_STARTS_OF_GRACE = 2.0

PolicyState = dict[str, float]


@dataclass(frozen=True, slots=True)
class Signals:
    """What the router measured. `queued` and `running` count tasks, only to tell none from some; `arrival_rate` is in
    GPU-seconds a second; `cold_start_seconds` is the longest start of an engine seen, 0 when none was; `quarantined`
    engines live, keep their GPUs and take no work.

    `read_at` is the router's clock at the reading. It is only ever compared with itself: a signal is stale when it
    stays the same for too long by the clock of whoever asks.
    """

    queued: float
    queued_gpu_seconds: float
    running: float
    remaining_gpu_seconds: float
    arrival_rate: float
    cold_start_seconds: float
    read_at: float
    quarantined: float = 0.0

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing runs."""
        return self.queued == 0 and self.running == 0


@dataclass(frozen=True, slots=True)
class ScalingTargets:
    """What the operator wants; times in seconds. See AutoscalingSettings for each field."""

    ranks: int
    drain_target_seconds: float
    utilisation: float
    efficiency: float
    up_window_seconds: float
    down_window_seconds: float
    idle_grace_seconds: float
    cold_start_seconds: float
    stale_seconds: float

    def cold_start(self, signals: Signals) -> float:
        """The longer of what the operator knows and what was measured, in seconds."""
        return max(self.cold_start_seconds, signals.cold_start_seconds)

    def down_window(self, signals: Signals) -> float:
        """How long less work must last before engines are stopped: never less than a cold start."""
        return max(self.down_window_seconds, self.cold_start(signals))

    def idle_grace(self, signals: Signals) -> float:
        """How long nothing may wait or run before the last engines are stopped."""
        return max(self.idle_grace_seconds, COLD_STARTS_OF_GRACE * self.cold_start(signals))


@dataclass(frozen=True, slots=True)
class Bounds:
    """Fewest and most engines, as Serve adjusted them to the capacity the cluster is to have now."""

    lowest: int
    highest: int

    def clamp(self, engines: int) -> int:
        return max(self.lowest, min(self.highest, engines))


def load_in_engines(signals: Signals, targets: ScalingTargets) -> float:
    """The formula above before it is rounded up."""
    capacity = targets.ranks * targets.efficiency
    backlog = signals.queued_gpu_seconds + signals.remaining_gpu_seconds
    return backlog / (targets.drain_target_seconds * capacity) + signals.arrival_rate / (targets.utilisation * capacity)


def engines_for(signals: Signals, targets: ScalingTargets) -> int:
    """Engines for this work, without windows and bounds: at least one while anything waits or runs, 0 when nothing
    does and nothing has arrived lately. Each one in quarantine has another in its place."""
    needed = math.ceil(load_in_engines(signals, targets) - 1e-9)  # sums of floats must not cost an engine
    needed = needed if signals.idle else max(1, needed)
    return needed + round(signals.quarantined) if needed else 0


def decide(
    now: float,
    current: int,
    bounds: Bounds,
    signals: Signals | None,
    targets: ScalingTargets,
    state: Mapping[str, float],
) -> tuple[int, PolicyState]:
    """The number of engines to have from now on, and what to remember until the next call.

    `current` is the number asked for so far, also while some of them still start; `signals` is None when there is no
    router to ask. Without fresh signals nothing changes but for the bounds, and no window goes on.
    """
    if signals is None:
        return bounds.clamp(current), {name: state[name] for name in ("read_at", "read_seen") if name in state}
    seen = _last_reading(now, signals, state)
    if now - seen["read_seen"] > targets.stale_seconds:
        return bounds.clamp(current), seen
    if not signals.idle:
        return _follow(now, current, bounds, signals, targets, state, seen)
    idle_since = state.get("idle_since", now)
    if now - idle_since >= targets.idle_grace(signals):
        return bounds.lowest, {**seen, "idle_since": idle_since}
    idle = {**seen, "idle_since": idle_since}
    if current == 0:
        return bounds.clamp(0), idle  # what came and went wakes nobody
    return _follow(now, current, bounds, signals, targets, state, idle)


def _last_reading(now: float, signals: Signals, state: Mapping[str, float]) -> PolicyState:
    """The last reading and when it was first seen here."""
    known = state.get("read_at") == signals.read_at and "read_seen" in state
    return {"read_at": signals.read_at, "read_seen": state["read_seen"] if known else now}


def _follow(
    now: float,
    current: int,
    bounds: Bounds,
    signals: Signals,
    targets: ScalingTargets,
    state: Mapping[str, float],
    kept: PolicyState,
) -> tuple[int, PolicyState]:
    """Go where the work points once it has pointed there for a window, and no further than it did all the while."""
    wanted = bounds.clamp(max(1, engines_for(signals, targets)))
    if wanted > current:
        if current == 0:
            return wanted, kept  # somebody waits for a cold start already
        since, least = state.get("up_since", now), min(wanted, int(state.get("up_to", wanted)))
        if now - since >= targets.up_window_seconds:
            return least, kept
        return bounds.clamp(current), {**kept, "up_since": since, "up_to": least}
    if wanted < current:
        since, most = state.get("down_since", now), max(wanted, int(state.get("down_to", wanted)))
        if now - since >= targets.down_window(signals):
            return most, kept
        return bounds.clamp(current), {**kept, "down_since": since, "down_to": most}
    return wanted, kept
