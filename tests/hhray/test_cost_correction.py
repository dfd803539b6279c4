"""Corrections follow what is measured, whatever else happens on the machine, and survive as text."""

from __future__ import annotations

import json
import random
import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hhray.corrected_costs import CorrectedCosts
from hhray.cost import CostModel
from hhray.cost_correction import KEPT, LEAST, Corrections, WorkClass
from hhray.memory_parts import STAGE_OF_TIER, Stage
from hhray.metrics import RATIO_BUCKETS
from hhray.model_size import preset
from hhray.predicted_ratio import PredictedRatios, ratio_histograms
from hhray.served_model import ServedModel
from hhray.unit_costs import UnitCostTable

SMALL, LARGE = "t2v/256P/16:9/3", "t2v/1080P/16:9/15"
FULL = ServedModel(preset("15b"), ladder=dict(STAGE_OF_TIER))


def costs(served=FULL):
    return CorrectedCosts(UnitCostTable(CostModel(served, 5e14, 1e9)))


def work(bucket=SMALL, degree=1, items=1, stage=Stage.BASE):
    return WorkClass(stage, bucket, degree, items)


def learnt(*ratios, where=None):
    made = Corrections()
    for ratio in ratios:
        made.observe(where or work(), ratio)
    return made


def test_two_ratios_are_no_evidence_and_three_are():
    assert learnt(1.5, 1.5).factor(work()) == 1.0
    assert learnt(1.5, 1.4, 1.6).factor(work()) == 1.5


@pytest.mark.parametrize("wild", [60.0, 1e5, 1e-4])
def test_a_compile_and_a_suspended_process_do_not_move_it(wild):
    chance = random.Random(1)
    honest = [1.3 * (1 + 0.05 * chance.uniform(-1, 1)) for _ in range(KEPT - 7)]
    found = learnt(*honest, *([wild] * 7)).factor(work())
    assert min(honest) * 0.98 <= found <= max(honest) * 1.02


def test_a_machine_that_became_slower_is_followed_within_fifteen_commands():
    found = learnt(*[1.0] * 50, *[2.0] * 8)
    assert found.factor(work()) == 2.0


def test_noise_of_two_per_cent_does_not_make_new_costs():
    found = learnt(1.0, 1.0, 1.0)
    assert not found.observe(work(), 1.01)
    assert not any(found.observe(work(), 1.01) for _ in range(20))
    assert found.factor(work()) == 1.0
    assert any(found.observe(work(), 1.05) for _ in range(20))


def test_a_class_nobody_has_measured_takes_the_next_coarser_one():
    found = Corrections()
    for where, ratio in (
        (work(SMALL, 1, 1), 1.1),
        (work(SMALL, 1, 4), 1.4),
        (work("t2v/256P/9:16/3", 1, 1), 1.2),
        (work(LARGE, 2, 1), 1.7),
    ):
        for _ in range(LEAST):
            found.observe(where, ratio)
    assert found.factor(work(SMALL, 1, 1)) == 1.1
    assert found.factor(work(SMALL, 1, 4)) == 1.4
    assert found.factor(work(SMALL, 1, 2)) == pytest.approx(1.25)  # this bucket on one rank, any batch
    assert found.factor(work("i2v/256P/16:9/9", 1, 1)) == 1.2  # the tier on one rank
    assert found.factor(work("i2v/720P/16:9/9", 2, 1)) == 1.7  # two ranks, any tier
    assert found.factor(work("i2v/720P/16:9/9", 8, 1)) == pytest.approx(1.3)  # anything
    assert found.factor(work(SMALL, 1, 1, Stage.DECODE)) == 1.0  # of another stage nothing is known


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_ratio_is_left_out(ratio):
    assert learnt(ratio, ratio, ratio).rows() == {}


def test_rows_are_text_that_brings_everything_back_and_damaged_ones_are_left_out():
    found = learnt(1.234567, 1.5, 1.6, where=work(LARGE, 4, 2))
    rows = json.loads(json.dumps(found.rows()))
    assert all(isinstance(text, str) for text in rows.values())
    again = Corrections.from_rows({**rows, "correction|base|x|1|1": "{", "other": "[1]", "correction|a|b|1|1": "[-1]"})
    assert again.rows() == found.rows()
    assert again.factor(work(LARGE, 4, 2)) == found.factor(work(LARGE, 4, 2)) == 1.5
    assert set(found.take_changed()) == set(rows)
    assert found.take_changed() == again.take_changed() == {}


def test_learning_changes_what_is_predicted_and_the_error_is_that_of_the_corrected_costs():
    known = costs()
    plain = known.unit_seconds(SMALL, 0, 1)
    errors = [known.observe(SMALL, range(8), 1, 1, 2 * 8 * plain).ratio for _ in range(5)]
    assert errors == pytest.approx([2.0, 2.0, 2.0, 1.0, 1.0])
    assert known.unit_seconds(SMALL, 0, 1) == pytest.approx(2 * plain)
    assert known.num_units(SMALL) == known.table.num_units(SMALL)
    base = sum(known.table.units(SMALL, 1, 1)[:8])
    assert known.alone_seconds(SMALL) == pytest.approx(2 * base + sum(known.table.units(SMALL, 1, 1)[8:]))


def test_cold_commands_and_those_of_two_stages_teach_nothing():
    known = costs()
    assert known.observe(SMALL, range(8), 1, 1, 99.0, cold=True) is None
    assert known.observe(LARGE, range(6, 10), 1, 1, 99.0) is None
    assert known.observe(SMALL, range(0), 1, 1, 99.0) is None
    assert known.observe(SMALL, range(8), 1, 1, 0.0) is None
    assert known.corrections.rows() == {}


measurements = st.tuples(
    st.sampled_from([SMALL, LARGE]), st.sampled_from([1, 2, 4, 8]), st.integers(1, 4), st.floats(1e-3, 1e3)
)


@given(st.lists(measurements, max_size=40), st.sampled_from([2, 4, 8]), st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_whatever_was_measured_no_block_beats_its_ranks_and_no_batch_one_clip(measured, degree, items):
    known = costs()
    for bucket, ranks, clips, seconds in measured:
        known.observe(bucket, range(8), ranks, clips, seconds)
    for bucket in (SMALL, LARGE):
        for unit in (0, known.num_units(bucket) - 1):
            shared = known.unit_seconds(bucket, unit, degree, items)
            assert shared > 0
            assert shared >= known.unit_seconds(bucket, unit, 1, items) / degree * (1 - 1e-9)
            assert shared >= known.unit_seconds(bucket, unit, degree) * (1 - 1e-9)


def test_a_corrected_unit_is_looked_up_in_two_microseconds():
    known = costs()
    for _ in range(LEAST):
        known.observe(SMALL, range(8), 2, 1, 1.0)
    known.unit_seconds(SMALL, 3, 2)
    taken = min(timeit.repeat(lambda: known.unit_seconds(SMALL, 3, 2), number=2000, repeat=20)) / 2000
    print(f"unit_seconds, corrected: {taken * 1e6:.2f} us a call")
    assert taken <= 2e-6


def test_errors_are_counted_by_tier_and_stage_and_several_writers_add_up():
    known, blue, green = costs(), PredictedRatios("blue"), PredictedRatios("green")
    plain = known.unit_seconds(SMALL, 0, 1)
    for ratio in (0.6, 1.0, 1.02):
        blue.observe(known.observe(SMALL, range(1), 1, 1, ratio * plain))
    green.observe(known.observe(SMALL, range(1), 1, 1, 100 * plain))
    rows = {**blue.take_changed(), **green.take_changed(), "correction|x": "[1]", "ratio|bad|256P|base": "{}"}
    (row,) = ratio_histograms(rows)
    assert row.labels == ("256P", "base")
    assert row.count == 4
    assert row.counts[-1] == 1
    assert row.counts[RATIO_BUCKETS.index(0.7)] == row.counts[RATIO_BUCKETS.index(1.0)] == 1
    assert row.sum_seconds == pytest.approx(0.6 + 1.0 + 1.02 + 100, abs=0.1)
    again = PredictedRatios("blue", rows)
    again.observe(known.observe(SMALL, range(1), 1, 1, plain))
    (text,) = again.take_changed().values()
    assert sum(json.loads(text)["counts"]) == 4  # its own three and the new one
