"""How long a batch's steps take on a block, as predicted and corrected by what is measured; hence its commands' length.

Pure: a command is at least one step, and at most about `command_seconds` of short ones; a second one is queued behind
it only while both are short, so that long steps have a boundary after each.
"""

from __future__ import annotations

from hhray.cost import CostModel
from hhray.geometry import ClipGeometry

SHORT_SECONDS = 0.3  # a command that takes longer has none queued behind it


class Pace:
    """The steps of a batch of `items` clips of one shape."""

    def __init__(self, cost: CostModel, geometry: ClipGeometry, items: int, command_seconds: float) -> None:
        self._cost, self._geometry, self._items = cost, geometry, items
        self._command_seconds = command_seconds
        self._predicted: dict[int, tuple[float, ...]] = {}
        self._correction: float | None = None

    @property
    def num_steps(self) -> int:
        """Over all passes."""
        return len(self._steps(1))

    def seconds(self, first: int, count: int, ranks: int) -> float:
        """Wall seconds of steps `first` .. `first + count - 1` on so many ranks."""
        return (self._correction or 1.0) * sum(self._steps(ranks)[first : first + count])

    def command(self, first: int, ranks: int) -> int:
        """Steps of the next command: as many as fit; one until a step of this batch has been measured."""
        if self._correction is None:
            return 1
        left = self._command_seconds
        for count, seconds in enumerate(self._steps(ranks)[first:]):
            left -= self._correction * seconds
            if left < 0:
                return max(1, count)
        return self.num_steps - first

    def may_queue(self, first: int, count: int, ranks: int) -> bool:
        """Whether a command of these steps is short enough to wait behind another."""
        return self.seconds(first, count, ranks) < SHORT_SECONDS

    def measured(self, first: int, count: int, ranks: int, seconds: float) -> None:
        """Steps took so long."""
        self._correction = seconds / sum(self._steps(ranks)[first : first + count])

    def _steps(self, ranks: int) -> tuple[float, ...]:
        if ranks not in self._predicted:
            self._predicted[ranks] = self._cost.steps_seconds(self._geometry, ranks, self._items)
        return self._predicted[ranks]
