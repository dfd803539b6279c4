"""Network and samplers against tensors recorded from the published implementation, through `engine.parity`."""

from __future__ import annotations

import json
import re

import pytest
import torch

from engine.parity.forward import bfloat16_rows, forward_rows
from engine.parity.golden_set import GoldenSet
from engine.parity.run import cases
from engine.parity.sampling import sampler_rows
from engine.parity.tables import schedule_rows, weight_rows

FORWARD = ["base_t2v", "base_odd", "activation_clamps", "audio_odd_v1", "audio_odd_v2", "sr_540p", "sr_1080p_local"]
SAMPLERS = [
    "distill_8step_t2v",
    "distill_8step_ti2v",
    "base_6step_cfg_t2v",
    "base_6step_cfg_ti2v",
    "base_6step_cfg_a2v",
    "sr_540p_5step",
    "sr_1080p_local_5step",
]


def assert_equal_to_the_recording(rows, outputs):
    assert [row.output for row in rows] == outputs
    assert [row.json() for row in rows if not row.ok] == []


@pytest.mark.parametrize("name", FORWARD)
@torch.inference_mode()
def test_a_forward_pass_equals_the_published_one(golden_folder, name):
    rows = forward_rows(GoldenSet(golden_folder(name)), name)
    outputs = ["coords", "rope", "modality", "token_sequence", "video_velocity", "audio_velocity"]
    assert_equal_to_the_recording(rows, outputs)


@pytest.mark.parametrize("name", FORWARD)
@torch.inference_mode()
def test_bfloat16_errs_no_more_than_the_published_implementation(golden_folder, name):
    rows = bfloat16_rows(GoldenSet(golden_folder(f"bf16/{name}")), name)
    assert_equal_to_the_recording(rows, ["video_velocity", "audio_velocity"])
    assert all(row.rel_error > 1e-3 for row in rows)  # it did compute in bfloat16


@pytest.mark.parametrize("name", SAMPLERS)
@torch.inference_mode()
def test_a_sampler_run_equals_the_published_one(golden_folder, name):
    rows = sampler_rows(GoldenSet(golden_folder(name)), name)
    between = ["upsampled", "sigma", "noised"] if name.startswith("sr_") else []
    assert_equal_to_the_recording(rows, [*between, "video_out", "audio_out"])


def test_schedules_equal_the_published_ones(golden_folder):
    rows = schedule_rows(GoldenSet(golden_folder("base_t2v")))
    kinds = [f"{kind}.{steps}" for steps in (4, 5, 8, 32) for kind in ("sigmas", "timesteps")]
    assert_equal_to_the_recording(rows, [*kinds, "zero_snr_sigma"])
    assert weight_rows(GoldenSet(golden_folder("base_t2v")), "weights") == []


def test_a_run_covers_every_file_of_the_whole_set(golden_folder):
    folder = golden_folder("sr_540p_5step")
    names = {case.name for case in cases(folder, torch.float32)}
    files = {re.sub("(turbo_.*)_weights", r"\1", path.stem) for path in folder.glob("*.safetensors")}
    assert names == files | {"schedules"}
    listed = json.loads((folder / "index.json").read_text())["cases"]
    assert [case.name for case in cases(folder, torch.bfloat16)] == list(listed)
