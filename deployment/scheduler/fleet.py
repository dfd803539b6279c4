"""What the scheduler remembers of all gangs: their last state, the work they have begun, and whose ranks are in use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from deployment.scheduler.policy import Policy
from deployment.scheduler.values import GangState, RunningBatch


@dataclass(slots=True)
class Fleet:
    """Gangs by engine id, each as it was when it last asked, and sums over them: what a decision needs of all gangs
    does not depend on how many there are.

    `begun`: GPU-seconds left of what they have begun; `idle`: ranks that nothing ran on; `busy`: gangs that have begun
    something.
    """

    gangs: dict[str, GangState] = field(default_factory=dict)
    num_ranks: int = 0
    _parts: dict[str, tuple[float, int]] = field(default_factory=dict)
    _begun: float = 0.0
    _idle: int = 0
    _busy: set[str] = field(default_factory=set)

    def remember(self, gang: GangState, gpu_seconds_left: float) -> None:
        """A gang asked."""
        self.forget(gang.engine_id)
        idle = gang.num_ranks - sum(batch.block.num_ranks for batch in gang.batches if batch.block)
        self.gangs[gang.engine_id] = gang
        self._parts[gang.engine_id] = (gpu_seconds_left, idle)
        self.num_ranks += gang.num_ranks
        self._begun += gpu_seconds_left
        self._idle += idle
        if gang.batches:
            self._busy.add(gang.engine_id)

    def begins(self, engine_id: str) -> None:
        """A gang that has asked was told to begin something."""
        self._busy.add(engine_id)

    @property
    def at_rest(self) -> bool:
        """Whether no gang has begun anything."""
        return not self._busy

    def forget(self, engine_id: str) -> None:
        """A gang is gone."""
        gang = self.gangs.pop(engine_id, None)
        self._busy.discard(engine_id)
        if gang is not None:
            begun, idle = self._parts.pop(engine_id)
            self.num_ranks -= gang.num_ranks
            self._begun = self._begun - begun if self.gangs else 0.0
            self._idle -= idle

    def backlog(self, waiting_gpu_seconds: float) -> float:
        """Seconds of work per rank, begun and waiting."""
        return (self._begun + waiting_gpu_seconds) / max(1, self.num_ranks)

    def idle_ranks_elsewhere(self, engine_id: str) -> int:
        """Ranks of the other gangs that nothing ran on."""
        return self._idle - self._parts.get(engine_id, (0.0, 0))[1]

    def warm_elsewhere(self, engine_id: str, bucket: str, before: float) -> bool:
        """Whether another gang has run the bucket's shapes and has a rank free by then."""
        return any(
            gang.engine_id != engine_id and bucket in gang.warm and _frees_a_rank(gang, before)
            for gang in self.gangs.values()
        )

    def owned_ranks_left(self, policy: Policy, gang: GangState) -> dict[str, int]:
        """Of every tenant with a reserved share: its ranks over all gangs that its reserved clips are not on, batches
        that stand at a boundary of this gang left out."""
        if not policy.reserved:
            return {}
        left = owned_ranks(policy.reserved, self.num_ranks)
        for other in self.gangs.values():
            for batch in other.batches:
                if batch.reserved and batch.tenant in left and _holds(batch, other is gang) and batch.block:
                    left[batch.tenant] -= batch.block.num_ranks
        return left


def owned_ranks(reserved: Mapping[str, float], num_ranks: int) -> dict[str, int]:
    """The whole ranks of each reserved share, rounded down, but one at least."""
    return {tenant: max(1, math.floor(share * num_ranks + 1e-9)) for tenant, share in reserved.items()}


def _holds(batch: RunningBatch, here: bool) -> bool:
    return batch.busy or batch.pinned or not here


def _frees_a_rank(gang: GangState, before: float) -> bool:
    taken = sum(batch.block.num_ranks for batch in gang.batches if batch.block)
    return taken < gang.num_ranks or any(batch.busy and batch.free_at <= before for batch in gang.batches)
