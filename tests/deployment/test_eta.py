"""Estimates from plain values: the order of the fair queue, the pace of a running clip, the error bar."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployment.eta import (
    DEFAULT_RELATIVE_ERROR,
    LEAST_RECORDED,
    Line,
    Place,
    relative_error,
    running_eta,
    waiting_eta,
)
from deployment.scheduler.policy import Policy
from deployment.store.api_verbs import WaitingTask
from hhray.metrics import PREDICTED_RATIO, RATIO_BUCKETS, RollupRow
from hhray.tasks import Priority

HIGH, STANDARD = Priority.HIGH, Priority.STANDARD
weight = Policy().weight


def tasks(*rows):
    """(tenant, GPU-seconds) or (tenant, GPU-seconds, priority), oldest first; ids are their numbers."""
    return [
        WaitingTask(str(at), tenant, *(priority or (STANDARD,)), seconds)
        for at, (tenant, seconds, *priority) in enumerate(rows)
    ]


def test_alone_a_tenants_tasks_are_made_in_their_order():
    waiting = tasks(("a", 5.0), ("a", 7.0), ("a", 1.0))
    line = Line(waiting, weight)
    assert [line.place(task) for task in waiting] == [Place(0, 0, 0), Place(1, 5, 5), Place(2, 12, 12)]


def test_a_small_tenant_is_not_behind_the_whole_flood_of_another():
    waiting = tasks(*[("flood", 10.0)] * 100, ("small", 10.0))
    place = Line(waiting, weight).place(waiting[-1])
    assert (place.position, place.gpu_seconds_before) == (100, 1000.0)
    assert place.gpu_seconds_ahead == 10.0  # the flood gets as much as the small tenant meanwhile
    # and the flood's last task is behind its own and the small one's
    assert Line(waiting, weight).place(waiting[99]).gpu_seconds_ahead == 1000.0


def test_priority_and_weight_count_as_in_the_scheduler():
    waiting = tasks(("a", 10.0), ("b", 10.0, HIGH), ("b", 10.0, HIGH), ("b", 10.0, HIGH), ("b", 10.0, HIGH))
    assert Line(waiting, weight).place(waiting[0]).gpu_seconds_ahead == 40.0  # high goes four times as fast
    assert Line(waiting, weight).place(waiting[4]).gpu_seconds_ahead == 30.0 + 10.0
    heavy = Policy(weights={"a": 4.0}).weight
    assert Line(waiting, heavy).place(waiting[0]).gpu_seconds_ahead == 10.0


def test_a_task_that_is_not_in_the_line_yet_comes_last():
    line = Line(tasks(("a", 5.0), ("b", 50.0)), weight)
    assert line.place(WaitingTask("new", "a", STANDARD, 3.0)) == Place(2, 55.0, 5.0 + 8.0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.sampled_from(list(Priority))), max_size=30))
def test_a_task_is_never_behind_more_than_there_is(rows):
    waiting = tasks(*rows)
    line, total = Line(waiting, weight), sum(task.gpu_seconds for task in waiting)
    for task in waiting:
        place = line.place(task)
        assert 0 <= place.gpu_seconds_ahead <= total - task.gpu_seconds + 1e-6
        assert 0 <= place.gpu_seconds_before <= total - task.gpu_seconds


def test_waiting_is_work_ahead_over_ranks_and_the_clips_own_time():
    eta = waiting_eta(Place(3, 60.0, 60.0), running_left=20.0, own_seconds=5.0, ranks=8.0, error=0.2)
    assert eta is not None
    assert (eta.seconds, eta.error_seconds) == (pytest.approx(15.0), pytest.approx(3.0))
    # where order of submit and fair order differ, the bar covers half of the way
    eta = waiting_eta(Place(3, 60.0, 20.0), 20.0, 5.0, 8.0, 0.2)
    assert eta is not None
    assert (eta.seconds, eta.error_seconds) == (pytest.approx(10.0), pytest.approx(2.0 + 2.5))


def test_without_engines_there_is_no_estimate():
    assert waiting_eta(Place(0, 0.0, 0.0), 0.0, 5.0, 0.0, 0.5) is None


def test_a_running_clip_goes_on_at_its_own_pace():
    units = [1.0] * 8 + [2.0]
    assert running_eta(units, 0, 0.0, 0.5).seconds == 10.0
    twice_as_slow = running_eta(units, 4, 8.0, 0.5)
    assert twice_as_slow.seconds == pytest.approx(12.0)
    assert running_eta(units, 8, 16.0, 0.5).seconds == pytest.approx(4.0)
    assert running_eta(units, 8, 16.0, 0.5).error_seconds < twice_as_slow.error_seconds
    assert running_eta(units, 0, 3.0, 0.5).seconds == 7.0  # nothing reported yet
    assert running_eta(units, 9, 9.0, 0.5).seconds == 0.0


def recorded(ratios):
    counts = [0] * (len(RATIO_BUCKETS) + 1)
    for ratio in ratios:
        counts[next((at for at, most in enumerate(RATIO_BUCKETS) if ratio <= most), len(RATIO_BUCKETS))] += 1
    return [RollupRow(PREDICTED_RATIO.name, ("720P", "base"), tuple(counts), sum(ratios))]


def test_the_error_bar_is_the_stated_default_until_enough_is_recorded():
    assert relative_error([]) == DEFAULT_RELATIVE_ERROR
    assert relative_error(recorded([1.0] * (LEAST_RECORDED - 1))) == DEFAULT_RELATIVE_ERROR
    assert relative_error(recorded([1.0] * LEAST_RECORDED)) == pytest.approx(0.05)


def test_four_of_five_predictions_are_inside_the_error_bar():
    draw = random.Random(7)
    for spread in (0.03, 0.1, 0.3):
        ratios = [draw.lognormvariate(0.0, spread) for _ in range(500)]
        error = relative_error(recorded(ratios))
        kept = sum(abs(ratio - 1) <= error for ratio in ratios) / len(ratios)
        assert kept >= 0.8, (spread, error, kept)


def test_the_fair_line_foretells_a_simulated_deficit_round_robin():
    """A queue of three tenants served in turns of the scheduler's quantum: predicted ends are near the simulated."""
    draw = random.Random(11)
    waiting = tasks(*[("flood", draw.uniform(1, 9)) for _ in range(120)], *[(name, 4.0) for name in "ababab"])
    line, ranks = Line(waiting, weight), 4.0
    ends, served, now = {}, dict.fromkeys(("flood", "a", "b"), 0.0), 0.0
    queues = {name: [task for task in waiting if task.tenant == name] for name in served}
    while any(queues.values()):
        tenant = min((name for name in queues if queues[name]), key=lambda name: served[name])
        task = queues[tenant].pop(0)
        served[tenant] += task.gpu_seconds
        now += task.gpu_seconds / ranks
        ends[task.task_id] = now
    for task in waiting:
        eta = waiting_eta(line.place(task), 0.0, task.gpu_seconds / ranks, ranks, 0.0)
        assert eta is not None
        assert eta.seconds == pytest.approx(ends[task.task_id], abs=3 * 9.0 / ranks)
