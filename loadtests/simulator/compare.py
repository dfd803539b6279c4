"""All runs of a scenario: every policy at every load with every seed, side by side on the cores there are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from loadtests.simulator.costs import COSTS, CostTable
from loadtests.simulator.figures import summary
from loadtests.simulator.policies import make
from loadtests.simulator.run import Record, Simulation
from loadtests.simulator.scenario import Scenario

Case = tuple[Scenario, str, float, int]


def run_case(case: Case) -> Record:
    """One policy at one load with one seed."""
    scenario, policy, load, seed = case
    costs = CostTable.load(COSTS / f"{scenario.costs}.yaml")
    simulation = Simulation(
        costs,
        make(policy, costs),
        num_gangs=scenario.gangs,
        num_ranks=scenario.ranks,
        switch_seconds=scenario.switch_seconds,
        step_noise=scenario.step_noise,
        seed=seed,
    )
    return simulation.run(scenario.arrivals(costs, load, seed))


def compare(scenario: Scenario, jobs: int = 1, told: Callable[[str], None] = lambda _: None) -> list[dict[str, Any]]:
    """A row of figures for every policy and load; `told` hears of each when it is there.

    Raises:
        ConfigError: the scenario names a policy or a cost row that there is not.
    """
    pairs = [(policy, load) for load in scenario.loads for policy in scenario.policies]
    cases = [(scenario, policy, load, seed) for policy, load in pairs for seed in scenario.seeds]
    rows = []
    runs = map if jobs == 1 else ProcessPoolExecutor(jobs).map
    records = iter(runs(run_case, cases))
    for policy, load in pairs:
        of_pair = [next(records) for _ in scenario.seeds]
        figures = summary(of_pair, 60 * scenario.minutes, scenario.gangs * scenario.ranks)
        rows.append({"policy": policy, "load": load, **figures})
        told(f"{policy} at {load:g}")
    return rows
