"""The shipped scheduler meets its targets: a short run here, six hours and more seeds as a proof.

The short runs hold the bounds of the long ones, but for 1080P, of which half an hour has some 45 clips: there 70 % and
90 % stand for 75 % and 95 %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loadtests.simulator.compare import compare
from loadtests.simulator.scenario import SCENARIOS, Scenario

MIX = Scenario.load(SCENARIOS / "mix.yaml")


def row(load: float, minutes: float) -> dict[str, Any]:
    return compare(replace(MIX, loads=(load,), seeds=(1,), minutes=minutes, policies=("scheduler",)))[0]


def check(figures: dict[str, Any], large: tuple[float, float] = (0.75, 0.95)) -> None:
    """The targets of the load of that row."""
    every, small, load = figures["all"], figures["256P"], figures["load"]
    if load == 0.7:
        assert small["p95"] <= 1.1
        assert every["within_1.5x"] >= 0.99
    elif load == 0.9:
        assert small["p95"] <= 1.3
        assert every["within_1.5x"] >= 0.95
        assert every["within_3.0x"] >= 0.995
        assert figures["1080P"]["within_1.5x"] >= large[0]
        assert figures["1080P"]["within_3.0x"] >= large[1]
    elif load == 1.1:
        assert every["within_1.5x"] >= 0.80
        assert every["within_3.0x"] >= 0.95


def test_targets_at_0_9_in_half_an_hour() -> None:
    check(row(0.9, 30), large=(0.70, 0.90))


@pytest.mark.parametrize("load", [0.7, 1.1])
def test_targets_at_other_loads_in_ten_minutes(load: float) -> None:
    check(row(load, 10))


def test_a_flood_of_one_tenant_takes_no_more_than_what_others_leave() -> None:
    flood = replace(Scenario.load(SCENARIOS / "flood.yaml"), seeds=(1,), minutes=8)
    shipped, fifo = compare(flood)
    assert shipped["fairness"] >= 0.95
    small = [shipped["tenants"][name] for name in ("small-1", "small-2", "small-3")]
    assert min(one["within_3.0x"] for one in small) > fifo["tenants"]["small-1"]["within_3.0x"]


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["six_hours", "mix", "flood"])
def test_targets_in_full(name: str, keep_proof: Callable[[str, dict[str, Any]], None]) -> None:
    scenario = Scenario.load(SCENARIOS / f"{name}.yaml")
    rows = compare(scenario, jobs=2)
    keep_proof(f"simulator_{name}", {"scenario": name, "rows": rows})
    for figures in rows:
        if figures["policy"] == "scheduler":
            check(figures)
