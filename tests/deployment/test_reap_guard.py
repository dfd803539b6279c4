"""The reaper waits one lease after the store was away, after it slept itself, and after it started."""

from __future__ import annotations

from deployment.reap_guard import ReapGuard


def ticks(guard: ReapGuard, first: float, last: float) -> list[float]:
    """Times at which it would reap, asked every second."""
    reaped, now = [], first
    while now <= last:
        guard.answered(now)
        if guard.may_reap(now):
            reaped.append(now)
        now += 1.0
    return reaped


def test_a_reaper_that_has_just_started_waits_one_lease() -> None:
    guard = ReapGuard(20.0)
    assert not guard.may_reap(0.0)
    assert ticks(guard, 100.0, 125.0)[0] == 120.0


def test_after_an_outage_it_waits_one_lease_from_the_first_answer() -> None:
    guard = ReapGuard(20.0)
    ticks(guard, 0.0, 60.0)
    guard.away()
    assert not guard.may_reap(60.5)
    assert ticks(guard, 120.0, 145.0)[0] == 140.0


def test_an_outage_in_the_wait_begins_it_anew() -> None:
    guard = ReapGuard(20.0)
    ticks(guard, 0.0, 10.0)
    guard.away()
    assert ticks(guard, 15.0, 40.0)[0] == 35.0


def test_a_call_that_took_half_a_lease_counts_as_an_outage_and_a_short_one_does_not() -> None:
    guard = ReapGuard(20.0)
    ticks(guard, 0.0, 30.0)
    assert ticks(guard, 39.0, 41.0) == [39.0, 40.0, 41.0]
    assert ticks(guard, 52.0, 73.0) == [72.0, 73.0]
