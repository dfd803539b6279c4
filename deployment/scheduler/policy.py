"""The numbers of the policy: every rule of the scheduler has its field here, with the reason.

Seconds are wall seconds; "alone" is a clip's time on one idle rank; backlog is GPU-seconds waiting and begun per rank.
The figures that chose the defaults: `python -m loadtests.simulator`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hhray.tasks import Priority, QueuedTask


@dataclass(frozen=True, slots=True)
class Policy:
    """See each field."""

    # --- order
    deadline_multiple: float = 3.0
    slack_cap_seconds: float = 60.0
    aging_multiple: float = 8.0
    aged_share: float = 0.25
    weights: Mapping[str, float] = field(default_factory=dict)
    priority_weights: Mapping[Priority, float] = field(
        default_factory=lambda: {Priority.HIGH: 4.0, Priority.STANDARD: 1.0, Priority.LOW: 0.25}
    )
    quantum_seconds: float = 30.0
    reserved: Mapping[str, float] = field(default_factory=dict)
    # --- preemption
    long_step_seconds: float = 1.0
    max_pauses: int = 6
    # --- layout
    target_multiple: float = 1.5
    short_target_multiple: float = 1.3
    longest_step_seconds: float = 8.0
    deterministic_degree: int = 1
    min_degree: int = 2
    narrow_backlog_seconds: float = 40.0
    efficiency_floors: tuple[tuple[float, float], ...] = ((8.0, 0.45), (40.0, 0.7), (float("inf"), 0.94))
    # --- buckets
    switch_seconds: float = 2.0

    # --- what follows from them

    def weight(self, tenant: str, priority: Priority) -> float:
        """Share of a tenant's tasks of one priority, relative to others."""
        return self.weights.get(tenant, 1.0) * self.priority_weights[priority]

    def last_end(self, task: QueuedTask) -> float:
        """When the task is late: its deadline, but never sooner than the default one."""
        return max(task.deadline, task.submitted_at + self.deadline_multiple * task.gpu_seconds)

    def due(self, task: QueuedTask) -> float:
        """What orders tasks: the deadline, but no later than the cap on slack allows."""
        deadline = task.deadline or task.submitted_at + self.deadline_multiple * task.gpu_seconds
        return min(deadline, task.submitted_at + task.gpu_seconds + self.slack_cap_seconds)

    def aged_at(self, task: QueuedTask) -> float:
        """From when on it goes before all others, on a share of the ranks."""
        return task.submitted_at + self.aging_multiple * task.gpu_seconds

    def is_aged(self, task: QueuedTask, now: float) -> bool:
        """Whether it is so old."""
        return now >= self.aged_at(task)
