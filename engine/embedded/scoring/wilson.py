"""Shares with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.96


@dataclass(slots=True)
class Tally:
    """How many of how many were right."""

    right: int = 0
    total: int = 0

    def add(self, right: bool) -> None:
        self.right += right
        self.total += 1

    @property
    def share(self) -> float:
        return self.right / self.total if self.total else math.nan

    def interval(self) -> tuple[float, float]:
        """The Wilson interval of 95 %."""
        if not self.total:
            return 0.0, 1.0
        scale = 1 + Z**2 / self.total
        middle = (self.share + Z**2 / (2 * self.total)) / scale
        half = Z / scale * math.sqrt(self.share * (1 - self.share) / self.total + Z**2 / (4 * self.total**2))
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        if not self.total:
            return "none"
        low, high = self.interval()
        return f"{100 * self.share:5.1f} % ({100 * low:.1f} .. {100 * high:.1f}), {self.right} of {self.total}"
