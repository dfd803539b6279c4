"""Figures on made numbers."""

from __future__ import annotations

import math

import pytest

from hhray.tasks import QueuedTask
from loadtests.simulator.figures import attained, even_division, fairness, jain, percentile
from loadtests.simulator.run import Ended


def ended(tenant: str, gpu_seconds: float, at: float) -> Ended:
    return Ended(QueuedTask("t", "t2v/256P/16:9/3", 0.0, gpu_seconds, tenant, 1), 0.0, at, 0)


def test_percentiles_are_nearest_ranks() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([7], 0.99) == 7
    assert math.isnan(percentile([], 0.5))


def test_a_clip_at_the_goal_attains_it() -> None:
    assert attained([1.0, 1.5, 2.0, 4.0], 1.5) == 0.5


def test_jains_index_is_one_for_equals_and_a_share_for_one_who_has_all() -> None:
    assert jain([3.0, 3.0]) == 1.0
    assert jain([1.0, 0.0, 0.0, 0.0]) == 0.25


def test_nobody_is_due_more_than_he_asked_for() -> None:
    assert even_division({"flood": 100.0, "a": 5.0, "b": 20.0}, 60.0) == {"a": 5.0, "b": 20.0, "flood": 35.0}


def test_fairness_counts_work_while_tasks_arrived_against_the_even_division() -> None:
    even = [ended("a", 10.0, 5.0), ended("b", 5.0, 5.0), ended("b", 5.0, 6.0)]
    assert fairness(even, 10.0, 2) == pytest.approx(1.0)
    starved = [ended("a", 10.0, 5.0), ended("b", 10.0, 50.0)]
    assert fairness(starved, 10.0, 2) == pytest.approx(0.5)
