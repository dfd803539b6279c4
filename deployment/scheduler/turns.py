"""Whose turn it is: between batches at a boundary, and between them and the tasks that wait, over tenants.

Inside a tenant the earliest due goes first. Between tenants it does, too, as long as both were given about as much;
else who was given less. A batch that runs is not paused for another tenant's that was: they would change places at
every boundary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deployment.scheduler.clips import Clip, Tier
from deployment.scheduler.fair_queue import Waiting
from deployment.scheduler.waiting import WaitingTasks


@dataclass(frozen=True, slots=True)
class Turns:
    """By what `waiting` has counted for every tenant, in rounds of `quantum` GPU-seconds."""

    waiting: WaitingTasks
    quantum: float

    def first(self, batches: Iterable[Clip]) -> Clip | None:
        """The batch that goes before all others; None when there is none."""
        heads: dict[str, Clip] = {}
        for clip in batches:
            head = heads.get(clip.tenant)
            if head is None or clip.order <= head.order:
                heads[clip.tenant] = clip
        if len(heads) < 2:
            return next(iter(heads.values()), None)
        return min(heads.values(), key=self._turn)

    def _turn(self, clip: Clip) -> tuple[int, float, bool, float]:
        return clip.tier, self.waiting.given(clip.tenant) // self.quantum, clip.own is None, clip.due

    def goes_before(self, tier: Tier, task: Waiting, batch: Clip) -> bool:
        """Whether a task takes a batch's place.

        Between tenants nobody takes a place who was given more by it than a round above the other, and whoever was
        given no more than the other even with it takes the place in any case.
        """
        order = (tier, task.due) < batch.order
        if task.task.tenant == batch.tenant or tier != batch.tier:
            return order
        ahead = self.waiting.given_with(task) - self.waiting.given(batch.tenant)
        return ahead <= 0 or (order and ahead <= self.quantum)
