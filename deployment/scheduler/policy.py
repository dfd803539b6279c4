"""The numbers of the policy: every rule of the scheduler has its field here, with the reason.

Seconds are wall seconds; *alone* is a clip's time on one idle rank; *backlog* is the GPU-seconds that wait and that are
left of begun clips, per rank. `python -m loadtests.simulator --ablation` shows what each rule is worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from hhray.tasks import Priority


@dataclass(frozen=True, slots=True)
class Policy:
    """Order: `due`, `last_end`, `aged_at`. Layout: `target` and the fields on ranks. Preemption: those on steps."""

    # --- Order
    # A clip that waited and ran for 3 times its time alone is late; the measure other video servers use too.
    deadline_multiple: float = 3.0
    # A late clip goes behind all others, or an overload makes every clip late. It is late when even a block of so many
    # ranks would not end it in time: half a gang is what a busy gang can give.
    late_degree: int = 4
    # After 8 times its time alone a late clip goes first again, on at most an eighth of the ranks together with its
    # kind. So nothing waits for more than 8 times its time as long as late clips are less than an eighth of the work;
    # without this bound on the ranks, an overload would make old clips the only ones that run. (With a quarter, six
    # hours at 1.1 of capacity had 90 % within 3 times instead of 95: what is late already made others late.)
    aging_multiple: float = 8.0
    aged_share: float = 0.125
    # Tenants take turns in rounds of so many GPU-seconds; inside a round urgency decides. A few short clips, or part of
    # a long one: the longer a round, the longer a flood is felt.
    quantum_seconds: float = 10.0
    weights: Mapping[str, float] = field(default_factory=dict)
    default_weight: float = 1.0
    # Tasks of a tenant that run at once; others wait, whatever is free. 0: any number.
    most_running: Mapping[str, int] = field(default_factory=dict)
    default_most_running: int = 0
    priority_weights: Mapping[Priority, float] = field(
        default_factory=lambda: {Priority.HIGH: 4.0, Priority.STANDARD: 1.0, Priority.LOW: 0.25}
    )
    # The share of all ranks that a tenant owns, for its tasks marked `reserved`.
    reserved: Mapping[str, float] = field(default_factory=dict)

    # --- Preemption
    # Whoever is due first runs first, at every boundary; a clip with fewer than two units left goes on, as others would
    # gain nothing. (Keeping every clip with fewer than two *long* units left, all of 256P among them, was worse: short
    # clips then share blocks instead of running one after the other on wide ones.)
    units_worth_a_pause: int = 2
    # A clip that was paused so often goes on from then on.
    max_pauses: int = 6
    # No unit holds a block longer than this: whoever comes next waits for its end. A clip whose units are longer takes
    # a wider block or waits for one.
    longest_step_seconds: float = 14.0

    # --- Layout
    # What the choice of ranks aims at: below the deadline, so that a clip has something to lose.
    # Clips without a unit of a second are short, as all of 256P is: they aim higher, and at as many ranks as are
    # efficient when they miss, as they need them for a moment only.
    target_multiple: float = 1.5
    short_target_multiple: float = 1.1
    long_step_seconds: float = 1.0
    # Below `narrow_backlog_seconds` a clip gets two ranks at least: a block of one is hard to widen later. (Up to 40
    # seconds half of 256P took 0.6 instead of 0.9 of its time alone, and 1080P paid: 84 instead of 88 % within 1.5.)
    min_degree: int = 2
    narrow_backlog_seconds: float = 20.0
    # The widest block a unit may get keeps this efficiency: up to 8 seconds of backlog the first number, and so on. An
    # idle gang wastes nothing by a wide block; a busy one loses what the others could have had.
    efficiency_floors: tuple[tuple[float, float], ...] = ((8.0, 0.45), (40.0, 0.7), (inf, 0.94))
    # Deterministic clips always run on as many ranks: other degrees add up in another order.
    deterministic_degree: int = 1

    # --- Buckets
    # What a shape costs an engine that has not run it yet. A task waits so long at most for an engine that has, and not
    # at all when more is waiting than this.
    switch_seconds: float = 2.0
    # Whether tasks of one bucket are packed into one batch where `BatchLimits` allow it.
    packing: bool = True

    def weight(self, tenant: str, priority: Priority) -> float:
        """How much of the ranks a tenant's tasks of one priority get, relative to others."""
        return self.weights.get(tenant, self.default_weight) * self.priority_weights[priority]

    def last_end(self, submitted_at: float, alone: float, deadline: float) -> float:
        """When a clip is late: at its deadline, but never sooner than at the default one, which can be kept."""
        return max(deadline, submitted_at + self.deadline_multiple * alone)

    def due(self, submitted_at: float, alone: float, deadline: float) -> float:
        """What orders clips that are on time: the deadline, no later than when they would be aged."""
        return min(
            deadline or submitted_at + self.deadline_multiple * alone,
            self.aged_at(submitted_at, alone),
        )

    def aged_at(self, submitted_at: float, alone: float) -> float:
        """From when on a late clip goes first, on a share of the ranks; what orders late clips."""
        return submitted_at + self.aging_multiple * alone

    def target(self, submitted_at: float, alone: float, short: bool, deadline: float) -> float:
        """When a clip should end: when its client wants it, if that was said."""
        return deadline or submitted_at + alone * (self.short_target_multiple if short else self.target_multiple)

    def efficiency_floor(self, backlog: float) -> float:
        """The efficiency that the widest block has to keep at that backlog."""
        return next(floor for below, floor in self.efficiency_floors if backlog < below)
