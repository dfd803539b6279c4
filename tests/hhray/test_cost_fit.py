"""Fitted constants are those the rows were made with, and what rows cannot say is not claimed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from statistics import median

import pytest
import yaml

from hhray.cli import main
from hhray.cost import CostModel, Overheads
from hhray.cost_defaults import DEVICE_COSTS
from hhray.cost_fit import fit_decode, fit_steps
from hhray.cost_rows import DecodeRow, StepRow, read_rows
from hhray.cost_verbs import fit_facts
from hhray.errors import ConfigError
from hhray.geometry import LatentGrid
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import load_settings
from hhray.step_work import ClipTokens, step_work

RESULTS = Path(__file__).parents[2] / "engine" / "bench" / "results"
TRUE = CostModel(
    ServedModel(preset("pico")),
    4e10,
    1e7,
    Overheads(
        attention_flops_per_second=2e10,
        layer_seconds=1e-3,
        item_seconds=4e-3,
        exchange_seconds=2e-4,
        link_bytes_per_second=1e9,
    ),
)


def rows(presets=("pico", "embedded", "tiny"), degrees=(1, 2), batches=(1, 4), noise=0.0, model=TRUE):
    chance = random.Random(7)
    made = []
    for name in presets:
        for degree in degrees:
            for items in batches:
                for grid in (LatentGrid(20, 6, 10), LatentGrid(20, 16, 28), LatentGrid(5, 4, 4)):
                    work = step_work(preset(name), ClipTokens(grid, 77, 64), degree=degree, items=items)
                    seconds = model.work_seconds(work) * (1 + noise * chance.uniform(-1, 1))
                    made.append(StepRow(f"{name} {degree} {items}", "cpu", 1, work, seconds))
    return made


def test_exact_rows_give_back_every_constant():
    found = fit_steps(rows())
    rest = TRUE.overheads
    assert found.constants == {
        "flops_per_second": pytest.approx(4e10, rel=1e-5),
        "attention_flops_per_second": pytest.approx(2e10, rel=1e-5),
        "layer_seconds": pytest.approx(rest.layer_seconds, rel=1e-5),
        "item_seconds": pytest.approx(rest.item_seconds, rel=1e-5),
        "exchange_seconds": pytest.approx(rest.exchange_seconds, rel=1e-3),
        "link_bytes_per_second": pytest.approx(rest.link_bytes_per_second, rel=1e-3),
    }
    assert found.left_out == {"forward_seconds": "these rows do not ask for it"}
    assert max(abs(one.ratio - 1) for one in found.residuals) < 1e-6


def test_noisy_rows_give_rates_within_the_noise_and_nothing_below_zero():
    found = fit_steps(rows(noise=0.1))
    assert found.constants["flops_per_second"] == pytest.approx(4e10, rel=0.15)
    assert all(value > 0 for value in found.constants.values())
    assert max(abs(one.ratio - 1) for one in found.residuals) < 0.25


def test_what_the_rows_cannot_tell_is_left_out_with_the_reason():
    one_rank = fit_steps(rows(degrees=(1,)))
    for name in ("exchange_seconds", "link_bytes_per_second"):
        assert one_rank.left_out[name].startswith("0 row(s) have any of it")
    single = fit_steps([*rows(degrees=(1,)), *rows(degrees=(2,))[:1]])
    assert single.left_out["exchange_seconds"].startswith("1 row(s) have any of it")
    one_network = fit_steps(rows(presets=("pico",)))
    alike = {"layer_seconds", "forward_seconds"} & set(one_network.left_out)
    assert len(alike) == 1  # five layers are five times one: one of the two takes both
    assert "cannot be told from" in one_network.left_out[alike.pop()]


def test_few_rows_give_few_constants_and_attention_as_fast_as_products():
    found = fit_steps(rows()[:3])
    assert list(found.constants) == ["flops_per_second"]
    assert "too few" in found.left_out["attention_flops_per_second"]
    assert fit_steps(rows()[:1]).residuals[0].ratio == pytest.approx(1)
    assert fit_steps([]).constants == {}


def test_a_decode_has_a_fixed_time_and_a_rate():
    made = [DecodeRow("", "cpu", 1, pixels, 0.05 + pixels / 4e7) for pixels in (10**5, 10**6, 10**7, 10**8)]
    constants = fit_decode(made).constants
    assert constants == {"decoded_pixels_per_second": pytest.approx(4e7), "decode_seconds": pytest.approx(0.05)}


def test_the_published_rows_give_the_rates_of_the_default_and_claim_no_more(capsys):
    file = RESULTS / "published-h100.jsonl"
    assert main(["fit-costs", str(file), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["constants"]["flops_per_second"] == pytest.approx(5.4e14, rel=0.01)
    assert facts["constants"]["decoded_pixels_per_second"] == pytest.approx(4.2e7, rel=0.01)
    assert len(facts["constants"]) == 2
    assert DEVICE_COSTS["cuda"].flops_per_second == pytest.approx(facts["constants"]["flops_per_second"], rel=0.01)
    assert [one["ratio"] for one in facts["residuals"]] == pytest.approx([1] * 6, abs=0.2)
    overrides = yaml.safe_load(json.dumps(facts["settings"]))
    model = load_settings(overrides=overrides).cost_model(ServedModel(preset("15b")))
    assert model.flops_per_second == facts["constants"]["flops_per_second"]
    assert model.overheads.decoded_pixels_per_second == facts["constants"]["decoded_pixels_per_second"]


def test_the_defaults_of_a_cpu_are_those_of_the_measured_rows():
    facts = fit_facts(read_rows([RESULTS / "cpu-steps.jsonl"]))
    known = DEVICE_COSTS["cpu"]
    assert known.flops_per_second == pytest.approx(facts["constants"]["flops_per_second"], rel=0.05)
    assert known.overheads.layer_seconds == pytest.approx(facts["constants"]["layer_seconds"], rel=0.1)
    steps = [one["ratio"] for one in facts["residuals"] if "decode" not in one["row"]]
    assert 0.9 < median(steps) < 1.1
    assert max(steps) < 1.5


def test_a_measured_file_says_its_residuals_to_people_too(capsys):
    assert main(["fit-costs", str(RESULTS / "cpu-steps.jsonl")]) == 0
    said = capsys.readouterr().out
    assert "flops_per_second:" in said
    assert "embedded base 160x96 3 s, batch 4" in said
    assert "left out" in said


def test_rows_of_other_numbers_of_threads_are_left_out_and_said():
    made = rows()
    others = [StepRow("2 threads", "cpu", 2, made[0].work, 9.0)]
    facts = fit_facts([*made, *others])
    assert facts["notes"] == ["left out: 1 row(s) of ranks that have other than 1 thread(s)"]
    assert facts["rows"] == len(made)


def test_what_is_no_measurement_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_rows([tmp_path / "missing.json"])
    for name, text in (("text", "no JSON"), ("other", '{"a": 1}'), ("dry", '{"dry": true}')):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match="is not what"):
            read_rows([tmp_path / name])
    with pytest.raises(ConfigError, match="one kind of device"):
        fit_facts([])
