"""The virtual gang: what a clip takes, what a change of block costs, and baselines that do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployment.scheduler.values import GangPlan, GangState, Start
from hhray.blocks import Block
from hhray.errors import ConfigError
from hhray.geometry import Resolution
from hhray.request import Mode, ShapeKey
from hhray.tasks import QueuedTask
from loadtests.simulator.baselines import fifo, per_resolution
from loadtests.simulator.costs import COSTS, CostTable
from loadtests.simulator.policies import make
from loadtests.simulator.run import Simulation
from loadtests.simulator.scenario import SCENARIOS, Scenario

TABLE = CostTable.load(COSTS / "h100_published.yaml")
SMALL, LARGE = "t2v/256P/16:9/5", "t2v/1080P/16:9/5"


def arrive(*buckets: str) -> list[QueuedTask]:
    return [QueuedTask(str(n), bucket, 0.0, TABLE.alone_seconds(bucket), "t", n) for n, bucket in enumerate(buckets)]


def test_the_cost_file_gives_the_published_seconds() -> None:
    assert TABLE.alone_seconds(SMALL) == pytest.approx(2.0, abs=0.01)
    assert TABLE.alone_seconds("t2v/480P/16:9/5") == pytest.approx(8.0, abs=0.05)
    assert TABLE.alone_seconds(LARGE) == pytest.approx(38.4, abs=0.05)
    assert TABLE.num_units(LARGE) == 8 + 5 + 5
    assert TABLE.num_units(SMALL) == 8 + 5
    assert TABLE.unit_seconds(LARGE, 8, 8) == pytest.approx(TABLE.unit_seconds(LARGE, 8, 1) / 8 / 0.9)
    assert TABLE.unit_seconds(SMALL, 0, 4) == pytest.approx(TABLE.unit_seconds(SMALL, 0, 1) / 4 / 0.75)


def test_the_mean_work_and_the_capacity_are_those_of_the_study() -> None:
    scenario = Scenario.load(SCENARIOS / "mix.yaml")
    assert 8 / scenario.capacity(TABLE) == pytest.approx(14.24, abs=0.01)
    assert scenario.capacity(TABLE) == pytest.approx(0.562, abs=0.001)


def test_arrivals_have_the_mix_and_the_rate_and_are_the_same_for_a_seed() -> None:
    scenario = Scenario.load(SCENARIOS / "mix.yaml")
    tasks = list(scenario.arrivals(TABLE, 0.9, 1))
    assert tasks == list(scenario.arrivals(TABLE, 0.9, 1))
    assert tasks != list(scenario.arrivals(TABLE, 0.9, 2))
    assert len(tasks) == pytest.approx(0.9 * scenario.capacity(TABLE) * 3600, rel=0.1)
    small = sum(ShapeKey.parse(task.bucket).resolution is Resolution.P256 for task in tasks)
    assert small / len(tasks) == pytest.approx(0.5, abs=0.05)
    assert {ShapeKey.parse(task.bucket).mode for task in tasks} == {Mode.T2V}


@pytest.mark.parametrize(("degree", "seconds"), [(1, 2.002 + 0.02), (8, 1.6016 / 8 / 0.5 + 0.4 / 8 / 0.9 + 0.02)])
def test_a_lone_clip_takes_its_units_and_one_switch(degree: int, seconds: float) -> None:
    record = Simulation(TABLE, fifo(degree)).run(arrive(SMALL))
    assert record.ended[0].ended == pytest.approx(seconds, abs=1e-3)
    assert record.rank_seconds == pytest.approx(degree * seconds, abs=0.01)


def test_fifo_on_one_rank_each_runs_eight_at_a_time() -> None:
    record = Simulation(TABLE, fifo(1), switch_seconds=0.0).run(arrive(*[SMALL] * 16))
    alone = TABLE.alone_seconds(SMALL)
    assert sorted(one.ended for one in record.ended) == pytest.approx([alone] * 8 + [2 * alone] * 8)


def test_degrees_per_resolution_let_small_clips_pass_a_large_one_that_waits() -> None:
    record = Simulation(TABLE, per_resolution()).run(arrive(SMALL, LARGE, SMALL))
    ended = {one.task.task_id: one for one in record.ended}
    assert ended["2"].began == 0.0
    assert ended["1"].began == pytest.approx(ended["0"].ended, abs=0.01)


def test_noise_changes_seconds_and_a_seed_fixes_them() -> None:
    ends = [
        Simulation(TABLE, make("scheduler", TABLE), step_noise=0.15, seed=seed).run(arrive(LARGE)).ended[0].ended
        for seed in (1, 1, 2)
    ]
    assert ends[0] == ends[1] != ends[2]


def test_a_plan_whose_blocks_overlap_is_an_error() -> None:
    class Wrong:
        def add(self, tasks: list[QueuedTask]) -> None: ...

        def plan(self, gang: GangState, now: float) -> GangPlan:
            return GangPlan((Start(("0",), SMALL, Block(0, 2)), Start(("1",), SMALL, Block(1, 1))))

    tasks = arrive(SMALL, SMALL)
    simulation = Simulation(TABLE, Wrong())
    simulation._tasks.update((task.task_id, task) for task in tasks)
    with pytest.raises(RuntimeError, match="overlap"):
        simulation.run(tasks[:1])


def test_wrong_files_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("costs: x\nmix: {99P: 1}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="99P"):
        Scenario.load(wrong)
    with pytest.raises(ConfigError, match="no row"):
        TABLE.alone_seconds("t2v/256P/16:9/4")
    with pytest.raises(ConfigError, match="no policy"):
        make("magic", TABLE)
