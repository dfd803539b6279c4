"""Batch caps follow seconds per clip, and the number of tokens where nothing was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hhray.batch_cap import batch_cap, tokens_of
from hhray.corrected_costs import CorrectedCosts
from hhray.cost import CostModel, Overheads
from hhray.memory_parts import STAGE_OF_TIER
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.unit_costs import UnitCostTable

RESULTS = Path(__file__).parents[2] / "engine" / "bench" / "results"
FULL = ServedModel(preset("15b"), ladder=dict(STAGE_OF_TIER))
SMALL = ServedModel(preset("pico"))
PREVIEW = "t2v/256P/16:9/3"


class PerClip:
    """One unit; seconds per clip by batch."""

    def __init__(self, *seconds):
        self.seconds = seconds

    def num_units(self, bucket):
        return 1

    def unit_seconds(self, bucket, unit, degree, items=1):
        return items * self.seconds[items - 1]


@pytest.mark.parametrize(
    ("seconds", "cap"),
    [
        ((1.0, 0.7, 0.6, 0.59, 0.3), 3),  # the fourth gains 2 %: packing stops there, whatever comes after
        ((1.0, 0.94, 0.94, 0.94, 0.94), 2),
        ((1.0, 1.2, 0.5, 0.5, 0.5), 1),
        ((1.0, 0.9, 0.8, 0.7, 0.6), 5),
    ],
)
def test_the_last_clip_that_gained_five_per_cent_is_the_cap(seconds, cap):
    assert batch_cap(PerClip(*seconds), SMALL, PREVIEW, most=5) == cap


def test_a_smaller_gain_may_be_asked_for():
    assert batch_cap(PerClip(1.0, 0.98, 0.97), SMALL, PREVIEW, most=3, min_gain=0.005) == 3


def test_above_four_thousand_tokens_a_rank_nothing_is_packed_however_it_gains():
    gains = PerClip(1.0, 0.5, 0.3, 0.2)
    long = "t2v/256P/16:9/8"
    assert tokens_of(FULL, long) == 51 * 8 * 14 + 201 + 64
    assert batch_cap(gains, FULL, long, most=4) == 1
    assert batch_cap(gains, FULL, long, most=4, degree=2) == 4
    assert batch_cap(gains, FULL, PREVIEW, most=4) == 4
    assert batch_cap(gains, FULL, "t2v/1080P/16:9/3", most=4, degree=8) == 1  # the largest pass counts


def test_fixed_times_make_batches_worth_while_and_products_do_not():
    def cap(served, flops, **rest):
        return batch_cap(UnitCostTable(CostModel(served, flops, 1e9, Overheads(**rest))), served, PREVIEW)

    assert cap(SMALL, 1e10) == 1
    assert batch_cap(UnitCostTable(CostModel(SMALL, 1e10, 1e9)), SMALL, PREVIEW, min_gain=0) == 8  # as fast, at least
    assert cap(SMALL, 1e13, layer_seconds=0.01) == 8
    assert cap(FULL, 5.4e14) == 1


def test_what_was_measured_decides():
    costs = CorrectedCosts(UnitCostTable(CostModel(SMALL, 1e10, 1e9)))
    assert batch_cap(costs, SMALL, PREVIEW) == 1
    for _ in range(3):
        one = sum(costs.table.units(PREVIEW, 1, 1)[:8])
        costs.observe(PREVIEW, range(8), 1, 1, one)
        costs.observe(PREVIEW, range(8), 1, 2, 1.4 * one)
        costs.observe(PREVIEW, range(8), 1, 3, 2.1 * one)
    assert batch_cap(costs, SMALL, PREVIEW, most=3) == 2


def test_the_measured_rows_of_a_cpu_pack_nothing_with_the_embedded_network():
    """Both rounds of engine/bench/results/cpu-steps.jsonl: two clips together gain less than 5 % each."""
    lines = (RESULTS / "cpu-steps.jsonl").read_text(encoding="utf-8").splitlines()
    per_clip: dict[int, list[float]] = {}
    for facts in map(json.loads, lines):
        if (facts["preset"], facts["clip"]["size"], facts["clip"]["duration"]) == ("embedded", "160x96", 3):
            per_clip.setdefault(facts["batch"], []).append(facts["stages"][0]["seconds_per_step"] / facts["batch"])
    assert sorted(per_clip) == [1, 2, 4, 8]
    for one, two in zip(per_clip[1], per_clip[2], strict=True):
        assert batch_cap(PerClip(one, two), SMALL, PREVIEW, most=2) == 1
