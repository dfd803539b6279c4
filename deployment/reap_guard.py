"""When lost leases may be told from leases that nobody could renew. Pure: times are seconds of one clock."""

from __future__ import annotations


class ReapGuard:
    """Holds the reaper back for one lease after the store was away.

    An engine renews its leases at least three times in a lease, and goes on trying while the store does not answer. So
    a lease that ran out while the store was away says nothing about its engine; one that is still over a lease after
    the store came back does. A reaper that was itself asleep, or has just started, cannot know how long the store was
    away and waits as well.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease = lease_seconds
        self._answered_at: float | None = None
        self._hold_until = float("inf")

    def away(self) -> None:
        """The store did not answer."""
        self._answered_at = None

    def answered(self, now: float) -> None:
        """The store took a write."""
        silent = self._answered_at is None or now - self._answered_at > self._lease / 2
        if silent:
            self._hold_until = now + self._lease
        self._answered_at = now

    def may_reap(self, now: float) -> bool:
        """Whether a lease that is over now means a dead engine."""
        return self._answered_at is not None and now >= self._hold_until
