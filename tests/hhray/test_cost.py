"""The cost model: its sums against the published tables, and what must hold of any of its predictions."""

from __future__ import annotations

import math
import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hhray.capabilities import Capabilities
from hhray.cost import CostModel, Overheads, decode_chunks
from hhray.cost_defaults import DEVICE_COSTS
from hhray.geometry import DURATIONS, ClipGeometry, LatentGrid, Ratio, Resolution
from hhray.memory_parts import STAGE_OF_TIER, Stage
from hhray.model_size import preset
from hhray.request import Mode, ShapeKey
from hhray.served_model import Pass, ServedModel
from hhray.step_work import StepWork, step_work
from hhray.unit_costs import UnitCostTable

FULL = ServedModel(preset("15b"), ladder=dict(STAGE_OF_TIER))
DEGREES = (1, 2, 4, 8)
rates = st.floats(1e6, 1e18)
seconds = st.floats(0, 1.0)
overheads = st.builds(
    Overheads,
    attention_flops_per_second=st.one_of(st.just(0.0), rates),
    memory_bytes_per_second=rates,
    layer_seconds=seconds,
    forward_seconds=seconds,
    item_seconds=seconds,
    exchange_seconds=seconds,
    link_bytes_per_second=rates,
    decoded_pixels_per_second=rates,
    decode_seconds=seconds,
)
models = st.builds(
    CostModel,
    st.sampled_from([FULL, ServedModel(preset("pico")), ServedModel(preset("tiny"), guided=True)]),
    rates,
    rates,
    overheads,
)
geometries = st.builds(ClipGeometry, st.sampled_from(Resolution), st.sampled_from(Ratio), st.sampled_from(DURATIONS))


def table(served=FULL, device="cuda"):
    known = DEVICE_COSTS[device]
    return UnitCostTable(CostModel(served, known.flops_per_second, known.pixels_per_second, known.overheads))


def bucket(geometry, mode=Mode.T2V):
    return str(ShapeKey(mode, geometry.resolution, geometry.ratio, geometry.duration))


@given(models, geometries, st.sampled_from(DEGREES), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_every_unit_takes_time_and_no_block_is_faster_than_its_ranks_and_no_batch_than_one_clip(
    model, geometry, degree, items
):
    costs, name = UnitCostTable(model), bucket(geometry)
    for unit in {0, costs.num_units(name) - decode_chunks(geometry) - 1, costs.num_units(name) - 1}:
        alone = costs.unit_seconds(name, unit, 1, items)
        shared = costs.unit_seconds(name, unit, degree, items)
        assert 0 < shared < math.inf
        assert shared >= alone / degree * (1 - 1e-9)
        assert shared >= costs.unit_seconds(name, unit, degree) * (1 - 1e-9)
        assert shared <= items * costs.unit_seconds(name, unit, degree) * (1 + 1e-9)  # packing never costs extra here


@given(models, st.integers(1, 60), st.integers(1, 20), st.integers(1, 20), st.sampled_from(DEGREES))
@settings(max_examples=60, deadline=None)
def test_more_tokens_never_take_less_time(model, frames, rows, columns, degree):
    def step(frames, rows, columns):
        return model.step_seconds(Pass(Stage.BASE, LatentGrid(frames, 2 * rows, 2 * columns), 8), 77, degree)

    small = step(frames, rows, columns)
    assert all(more >= small for more in (step(frames + 1, rows, columns), step(frames, rows + 1, columns)))


def test_a_step_is_the_sum_that_the_formula_says():
    rest = Overheads(5e3, 1e2, 1e-3, 1e-2, 1e-1, 1.0, 1e4, 1.0, 1.0)
    model = CostModel(FULL, 1e3, 1.0, rest)
    work = StepWork(3e3, 2e4, layers=80, forwards=2, items=6, collectives=7, bytes_sent=5e4, weight_bytes=100)
    assert model.work_seconds(work) == pytest.approx(3.0 + 4.0 + 0.08 + 0.02 + 0.6 + 7.0 + 5.0, rel=1e-12)
    reading = StepWork(1e3, 0.0, layers=0, forwards=2, items=0, collectives=0, bytes_sent=0.0, weight_bytes=100)
    assert model.work_seconds(reading) == 2.0 + 0.02  # two passes read 100 bytes at 100 a second; products take 1 s


# seconds of one H100 by the published rows (scheduling study 0.1): 5 s clips
@pytest.mark.parametrize(
    ("grid", "stage", "steps", "published"),
    [
        (LatentGrid(32, 16, 28), Stage.BASE, 8, 1.6),
        (LatentGrid(32, 32, 56), Stage.SR_540P, 5, 5.1),
        (LatentGrid(32, 68, 120), Stage.SR_1080P, 5, 31.0),
    ],
)
def test_the_defaults_of_a_gpu_are_within_a_sixth_of_the_published_passes(grid, stage, steps, published):
    cost = table().cost
    predicted = steps * cost.step_seconds(Pass(stage, grid, steps), 126)
    assert predicted == pytest.approx(published, rel=1 / 6)


# sequence parallelism, model specification 5.3: MB a rank sends in a layer of a 5 s clip, Ulysses
@pytest.mark.parametrize(("degree", "megabytes"), [(8, 177)])
def test_eight_ranks_send_what_the_specification_counts(degree, megabytes):
    from hhray.step_work import ClipTokens

    work = step_work(preset("15b"), ClipTokens(LatentGrid(32, 68, 120), 126, 320), degree=degree)
    assert work.bytes_sent / 40 / 1e6 == pytest.approx(megabytes, rel=0.01)


def test_units_are_the_steps_of_all_passes_and_a_chunk_of_decode_for_each_second():
    geometry = ClipGeometry(Resolution.P1080, Ratio.R16_9, 7)
    costs, name = table(), bucket(geometry)
    assert costs.stages(name) == (Stage.BASE,) * 8 + (Stage.SR_1080P,) * 5 + (Stage.DECODE,) * 7
    units = [costs.unit_seconds(name, unit, 1) for unit in range(costs.num_units(name))]
    assert sum(units) == pytest.approx(costs.alone_seconds(name)) == pytest.approx(costs.cost.gpu_seconds(geometry))
    assert sum(units[13:]) == pytest.approx(costs.cost.decode_seconds(geometry))
    with pytest.raises(IndexError):
        costs.unit_seconds(name, 20, 1)
    with pytest.raises(ValueError, match="unpack"):
        costs.num_units("no bucket")


def test_a_windowed_decoder_is_shared_and_the_small_presets_are_not():
    geometry = ClipGeometry(Resolution.P1080, Ratio.R16_9, 5)
    full, small = table().cost, table(ServedModel(preset("tiny")), "cpu").cost
    alone = full.decode_seconds(geometry)
    shares = [full.decode_seconds(geometry, ranks=ranks) / alone for ranks in (2, 4, 5, 8)]
    assert shares == pytest.approx([3 / 5, 2 / 5, 1 / 5, 1 / 5])  # turns, of five windows
    assert small.decode_seconds(geometry, ranks=4) == small.decode_seconds(geometry)


def test_what_a_network_is_conditioned_on_costs_tokens_if_it_was_trained_so():
    geometry = ClipGeometry(Resolution.P256, Ratio.R16_9, 5)
    plain = ServedModel(preset("tiny"))
    trained = ServedModel(preset("tiny"), Capabilities(r2v=True, edit=True))
    seconds = {
        (served is trained, mode): UnitCostTable(CostModel(served, 1e10, 1e7)).unit_seconds(
            bucket(geometry, mode), 0, 1
        )
        for served in (plain, trained)
        for mode in Mode
    }
    text = seconds[False, Mode.T2V]
    assert all(seconds[False, mode] == text for mode in Mode)
    assert seconds[True, Mode.I2V] == seconds[True, Mode.T2V] == text
    assert text < seconds[True, Mode.R2V] < seconds[True, Mode.VIDEO_EDIT]
    assert seconds[True, Mode.VIDEO_EDIT] > 2 * text  # twice the tokens, and their pairs


def test_a_unit_is_looked_up_in_two_microseconds():
    costs, name = table(), "t2v/1080P/16:9/15"
    costs.unit_seconds(name, 3, 4)
    taken = min(timeit.repeat(lambda: costs.unit_seconds(name, 3, 4), number=2000, repeat=20)) / 2000
    print(f"unit_seconds: {taken * 1e6:.2f} us a call")
    assert taken <= 2e-6
