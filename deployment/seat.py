"""A batch's seat on a gang: its block, and what it hears at its boundaries. `ClipRun` sees the engine through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from deployment.boundaries import Boundaries
from deployment.gang import Gang
from hhray.blocks import Block


class Seat(Protocol):
    """Where a batch runs. `block` is where it began."""

    @property
    def gang(self) -> Gang:
        """The gang that lives now; a paused batch goes on on it, whichever it was begun on."""

    @property
    def block(self) -> Block: ...

    @property
    def is_asked(self) -> bool:
        """Whether the batch is to call `boundary` once its commands have ended; else it goes on at once."""

    def going_on(self, units_done: int, seconds: float) -> None:
        """The batch has done so many units; what was sent on top takes about `seconds`."""

    async def boundary(self, units_done: int) -> Block | None:
        """The block to go on on; None: pause, then wait for `resumption`."""

    async def resumption(self, seconds: float) -> Block | None:
        """Wait at most so long for the block to go on on; None: not yet.

        Raises:
            EngineFault: there is no gang any more.
        """


class GangSeat:
    """A seat among the batches of one engine."""

    def __init__(self, boundaries: Boundaries, batch_id: str, block: Block, living_gang: Callable[[], Gang]) -> None:
        self._boundaries, self._batch_id, self._living_gang = boundaries, batch_id, living_gang
        self.block = block

    @property
    def gang(self) -> Gang:
        """See Seat."""
        return self._living_gang()

    @property
    def is_asked(self) -> bool:
        """See Seat."""
        return self._boundaries.is_asked(self._batch_id)

    def going_on(self, units_done: int, seconds: float) -> None:
        """See Seat."""
        self._boundaries.going_on(self._batch_id, units_done, seconds)

    async def boundary(self, units_done: int) -> Block | None:
        """See Seat."""
        return self._moved(await self._boundaries.stand(self._batch_id, units_done))

    async def resumption(self, seconds: float) -> Block | None:
        """See Seat."""
        return self._moved(await self._boundaries.resumption(self._batch_id, seconds))

    def leave(self) -> None:
        """The batch needs no ranks any more."""
        self._boundaries.leave(self._batch_id)

    def _moved(self, block: Block | None) -> Block | None:
        self.block = block or self.block
        return block
