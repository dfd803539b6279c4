"""What one decision is about: clips that stand at a boundary or are to be begun, in one order."""

from __future__ import annotations

from dataclasses import dataclass, field

from deployment.scheduler.fair_queue import Waiting
from deployment.scheduler.profile import ClipProfile
from deployment.scheduler.waiting import Tier
from hhray.blocks import Block


@dataclass(slots=True, eq=False)
class Clip:
    """A batch at a boundary, or tasks that would be begun as one. Times in seconds of the caller's clock.

    `due` orders it inside its tier; `target` is when it should end for a good figure, `last_end` when it is late.
    `fixed_degree`: it may run on that many ranks only (0: any). `placed` is what the decision gives it.
    """

    tier: Tier
    due: float
    bucket: str
    profile: ClipProfile
    target: float
    last_end: float
    units_done: int = 0
    own: Block | None = None
    batch_id: str = ""
    tasks: tuple[Waiting, ...] = ()
    tenant: str = ""
    reserved: bool = False
    fixed_degree: int = 0
    short: bool = False
    degree: int = 0
    placed: Block | None = field(default=None)

    @property
    def order(self) -> tuple[int, float]:
        """Lower goes first."""
        return (self.tier, self.due)

    def step(self, degree: int) -> float:
        """Wall seconds of its next unit on so many ranks."""
        return self.profile.step(self.units_done, degree)

    def left(self, degree: int) -> float:
        """Wall seconds of all units not done on so many ranks."""
        return self.profile.left(self.units_done, degree)
