"""The autoscaling policy on golden traces: one line of signals a second, the decisions they must give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from deployment.autoscaling import Bounds, PolicyState, ScalingTargets, Signals, decide, engines_for

BOUNDS = Bounds(0, 10)
TARGETS = ScalingTargets(
    ranks=8,
    drain_target_seconds=60.0,
    utilisation=0.8,
    efficiency=1.0,
    up_window_seconds=10.0,
    down_window_seconds=120.0,
    idle_grace_seconds=300.0,
    cold_start_seconds=30.0,
    stale_seconds=20.0,
)
NOTHING = Signals(0, 0.0, 0, 0.0, 0.0, 0.0, 0.0)


def waiting(gpu_seconds: float, arrival_rate: float = 0.0) -> Signals:
    return Signals(1, gpu_seconds, 0, 0.0, arrival_rate, 0.0, 0.0)


class Trace:
    """Plays signals, a second each, against the policy as Serve calls it: the decision becomes the target."""

    def __init__(self, current: int = 0, bounds: Bounds = BOUNDS, targets: ScalingTargets = TARGETS) -> None:
        self.now, self.current = 1000.0, current
        self.bounds, self.targets = bounds, targets
        self.state: PolicyState = {}
        self.history: list[int] = []

    def play(self, signals: Signals | None, seconds: int, fresh: bool = True) -> list[int]:
        return self.play_each((signals for _ in range(seconds)), fresh)

    def play_each(self, signals: Iterable[Signals | None], fresh: bool = True) -> list[int]:
        start = len(self.history)
        for one in signals:
            self.now += 1.0
            given = replace(one, read_at=self.now) if one is not None and fresh else one
            self.current, self.state = decide(
                self.now, self.current, self.bounds, given, self.targets, dict(self.state)
            )
            assert self.bounds.lowest <= self.current <= self.bounds.highest
            assert all(isinstance(value, int | float) for value in self.state.values()), "plain values"
            self.history.append(self.current)
        return self.history[start:]

    @property
    def changes(self) -> int:
        return sum(before != after for before, after in zip(self.history, self.history[1:], strict=False))


def test_the_formula_in_gpu_seconds() -> None:
    # An engine of 8 ranks makes 480 GPU-seconds in a drain target of 60 s, and 6.4 a second at 80 %.
    assert engines_for(waiting(480.0), TARGETS) == 1
    assert engines_for(waiting(480.5), TARGETS) == 2
    assert engines_for(Signals(1, 240.0, 1, 240.0, 0.0, 0.0, 0.0), TARGETS) == 1
    assert engines_for(waiting(0.0, arrival_rate=6.4), TARGETS) == 1
    assert engines_for(waiting(240.0, arrival_rate=9.6), TARGETS) == 2
    assert engines_for(waiting(480.0), replace(TARGETS, ranks=2)) == 4
    assert engines_for(waiting(480.0), replace(TARGETS, efficiency=0.5)) == 2
    assert engines_for(NOTHING, TARGETS) == 0
    assert engines_for(Signals(0, 0.0, 1, 0.0, 0.0, 0.0, 0.0), TARGETS) == 1, "its file is still being written"


def test_an_engine_in_quarantine_has_another_in_its_place() -> None:
    two, one_out = Signals(1, 240.0, 1, 240.0, 0.0, 0.0, 0.0), Signals(1, 240.0, 1, 240.0, 0.0, 0.0, 0.0, 1)
    assert engines_for(one_out, TARGETS) == engines_for(two, TARGETS) + 1
    assert engines_for(replace(NOTHING, quarantined=2.0), TARGETS) == 0, "nobody needs an engine"


def test_a_burst_of_1080p_equal_in_count_and_twenty_times_the_work_scales_more() -> None:
    clips = 60
    small = Signals(clips, clips * 2.0, 0, 0.0, 0.0, 0.0, 0.0)
    large = Signals(clips, clips * 38.4, 0, 0.0, 0.0, 0.0, 0.0)
    assert Trace(1).play(small, 30)[-1] == 1
    assert Trace(1).play(large, 30)[-1] == 5


def test_from_none_the_first_task_starts_all_engines_its_work_needs_at_once() -> None:
    assert Trace().play(waiting(1200.0), 1) == [3]


def test_a_scale_up_waits_for_its_window_and_takes_the_least_that_was_asked_for_in_it() -> None:
    trace = Trace(1)
    assert trace.play(waiting(4000.0), 5) == [1] * 5
    assert trace.play(waiting(1400.0), 5) == [1] * 5
    assert trace.play(waiting(4000.0), 2) == [3, 3]


def test_a_spike_shorter_than_the_window_changes_nothing() -> None:
    trace = Trace(1)
    for _ in range(20):
        trace.play(waiting(4000.0), 9)
        trace.play(waiting(100.0), 1)
    assert set(trace.history) == {1}


def test_a_scale_down_waits_for_its_own_window_and_takes_the_most_that_was_asked_for_in_it() -> None:
    trace = Trace(5)
    assert trace.play(waiting(1000.0), 60) == [5] * 60
    assert trace.play(waiting(1400.0), 30) == [5] * 30
    assert trace.play(waiting(100.0), 30) == [5] * 30
    assert trace.play(waiting(100.0), 1) == [3]


@pytest.mark.parametrize("period", [20, 60, 200])
def test_a_square_wave_does_not_flap(period: int) -> None:
    trace = Trace(1)
    for _ in range(20):
        trace.play(waiting(2000.0), period // 2)
        trace.play(waiting(10.0), period // 2)
    assert trace.changes <= 1


def test_a_slow_square_wave_is_followed() -> None:
    trace = Trace(1)
    for _ in range(3):
        assert trace.play(waiting(2000.0), 300)[-1] == 5
        assert trace.play(waiting(10.0), 300)[-1] == 1
    assert trace.changes == 6


@pytest.mark.parametrize("engines", [0, 1, 4])
def test_without_a_router_to_ask_the_number_stays(engines: int) -> None:
    trace = Trace(engines)
    assert trace.play(None, 1000) == [engines] * 1000


def test_a_router_that_measures_nothing_new_changes_nothing_and_no_window_goes_on() -> None:
    trace = Trace(4)
    assert trace.play(NOTHING, 100)[-1] == 4
    stale = replace(NOTHING, read_at=trace.now)
    assert trace.play(stale, 2000, fresh=False)[-1] == 4, "never to zero on a dead store"
    assert trace.play(NOTHING, 299)[-1] != 0, "the grace begins anew"
    assert trace.play(NOTHING, 2)[-1] == 0


def test_a_wrong_clock_of_the_router_does_not_matter() -> None:
    trace = Trace(0)
    for second in range(30):
        trace.play_each([replace(waiting(1200.0), read_at=second - 1e9)], fresh=False)
    assert trace.current == 3


def test_to_zero_only_when_nothing_waits_and_nothing_runs_for_the_whole_grace() -> None:
    trace = Trace(3)
    running = Signals(0, 0.0, 1, 0.001, 0.0, 0.0, 0.0)
    assert min(trace.play(running, 3000)) == 1
    assert min(trace.play(NOTHING, 290)) == 1
    assert min(trace.play(replace(waiting(0.0)), 1)) == 1
    assert min(trace.play(NOTHING, 300)) == 1
    assert trace.play(NOTHING, 1) == [0]
    assert trace.play(NOTHING, 100) == [0] * 100
    assert trace.play(waiting(1.0), 1) == [1]


def test_work_that_came_and_went_wakes_nobody() -> None:
    assert Trace(0).play(replace(NOTHING, arrival_rate=5.0), 50) == [0] * 50


def test_the_idle_grace_is_longer_than_a_measured_cold_start() -> None:
    slow = replace(NOTHING, cold_start_seconds=400.0)
    trace = Trace(1)
    assert min(trace.play(slow, 800)) == 1
    assert trace.play(slow, 1) == [0]


def test_a_cold_start_longer_than_the_windows_neither_runs_away_nor_flaps() -> None:
    """Engines take 500 s to come; the queue grows all the while and the windows are 10 s and 120 s."""
    trace = Trace(0)
    queue = [min(1200.0 + 2.0 * second, 2000.0) for second in range(500)]
    trace.play_each([replace(waiting(work, 2.0), cold_start_seconds=500.0) for work in queue])
    assert trace.current == 5
    assert max(trace.history) == 5
    dip = replace(waiting(10.0), cold_start_seconds=500.0)
    assert trace.play(dip, 400) == [5] * 400, "less work for less than a cold start stops nobody"


def test_the_bounds_hold_also_when_serve_moves_them() -> None:
    trace = Trace(1, Bounds(1, 4))
    assert trace.play(waiting(1e6), 30)[-1] == 4
    assert min(trace.play(NOTHING, 1000)) == 1
    trace.bounds = Bounds(0, 2)  # a cluster that is being replaced gives its capacity away
    assert trace.play(waiting(1e6), 1) == [1]
    assert trace.play(waiting(1e6), 30)[-1] == 2
    trace.bounds = Bounds(3, 4)
    assert trace.play(None, 1) == [3]


def test_steady_arrivals_settle_at_what_they_need_and_ripples_do_not_move_it() -> None:
    """A fluid queue behind engines that take 60 s to come: the policy's own loop, closed, for three hours."""
    trace = Trace(0, Bounds(0, 20))
    _closed_loop(trace, [20.0] * 7200 + ([24.0] * 20 + [16.0] * 20) * 90)
    assert set(trace.history[3600:]) == {4}, "20 GPU-seconds a second at 80 % of 8 ranks each"
    assert trace.changes <= 5


def _closed_loop(trace: Trace, work: list[float]) -> None:
    """`work` arrives second by second; what the policy asks for serves it, a cold start later."""
    queued, ready, coming = 0.0, trace.current, list[int]()
    for second, arriving in enumerate(work):
        queued += arriving
        coming = [left - 1 for left in coming if left > 1] + [60] * max(0, trace.current - ready - len(coming))
        ready = max(0, trace.current - len(coming))
        queued = max(0.0, queued - 8.0 * ready)
        rate = sum(work[max(0, second - 299) : second + 1]) / 300
        trace.play(Signals(int(queued > 0), queued, int(ready > 0), 8.0 * ready, rate, 60.0, 0.0), 1)
