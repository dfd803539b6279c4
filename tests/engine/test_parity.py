"""`python -m engine.parity` on whole, incomplete and tampered directories."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.parity.__main__ import main
from engine.parity.report import compare

KEPT = Path(__file__).parent / "golden"
CASES = ("base_t2v", "sr_1080p_local")


@pytest.fixture
def folder(tmp_path):
    """A set of two forward cases, one of them with local layers, and their bfloat16 recordings."""
    (tmp_path / "bf16").mkdir()
    for name in ("weights", *CASES, *(f"bf16/{case}" for case in CASES)):
        shutil.copy(KEPT / f"{name}.safetensors", tmp_path / f"{name}.safetensors")
    index = json.loads((KEPT / "index.json").read_text())
    index["cases"] = {name: index["cases"][name] for name in CASES}
    (tmp_path / "index.json").write_text(json.dumps(index))
    return tmp_path


def run(folder, capsys, *options):
    """Exit code and rows of the command."""
    code = main([str(folder), *options])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def change_tensor(name, key, change):
    def damage(folder):
        tensors = load_file(folder / f"{name}.safetensors")
        changed = change(tensors.pop(key).clone())
        if changed is not None:
            tensors[key] = changed.contiguous()
        save_file(tensors, folder / f"{name}.safetensors")

    return damage


def change_index(*path_and_value):
    def damage(folder):
        index = json.loads((folder / "index.json").read_text())
        *path, last, value = path_and_value
        entry = index
        for key in path:
            entry = entry[key]
        entry[last] = value
        (folder / "index.json").write_text(json.dumps(index))

    return damage


def remove(name):
    return lambda folder: (folder / name).unlink()


def truncate(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def leave_out(folder, name):
    cases = json.loads((folder / "index.json").read_text())["cases"]
    change_index("cases", {case: entry for case, entry in cases.items() if case != name})(folder)


def spoil(value):
    """Set one number."""

    def change(tensor):
        tensor.view(-1)[7] = value
        return tensor

    return change


DAMAGES = {
    "a velocity": change_tensor("base_t2v", "video_velocity", spoil(0.5)),
    "an audio velocity": change_tensor("sr_1080p_local", "audio_velocity", lambda x: x * 1.0001),
    "not a number": change_tensor("base_t2v", "audio_velocity", spoil(float("nan"))),
    "an infinite weight": change_tensor("weights", "final_norm_audio.weight", spoil(float("inf"))),
    "a shape": change_tensor("base_t2v", "video_velocity", lambda x: x[:, :, :1]),
    "a batch of two": change_tensor("base_t2v", "video_velocity", lambda x: torch.cat([x, x])),
    "no velocity": change_tensor("base_t2v", "video_velocity", lambda x: None),
    "an input": change_tensor("base_t2v", "text_features", spoil(3.0)),
    "a position": change_tensor("base_t2v", "coords", spoil(3.0)),
    "a rotation": change_tensor("base_t2v", "rope", lambda x: x.flip(1)),
    "a modality": change_tensor("base_t2v", "modality", spoil(2)),
    "a token": change_tensor("base_t2v", "token_sequence", spoil(3.0)),
    "a weight": change_tensor("weights", "block.layers.2.mlp.down_proj.weight", lambda x: x * 1.01),
    "a weight's name": change_tensor("weights", "adapter.rope.bands", lambda x: None),
    "no case": remove("sr_1080p_local.safetensors"),
    "no weights": remove("weights.safetensors"),
    "half a case": truncate("base_t2v.safetensors"),
    "another window": change_index("cases", "sr_1080p_local", "frame_receptive_field", 3),
    "other local layers": change_index("cases", "sr_1080p_local", "local_attn_layers", [0, 1]),
    "other positions": change_index("cases", "base_t2v", "coords_style", "v1"),
    "an unknown style": change_index("cases", "base_t2v", "coords_style", "v3"),
    "another text length": change_index("cases", "base_t2v", "text_len", 8),
    "another gain": change_index("cases", "base_t2v", "up_gate_gain", 1.5),
    "other expert layers": change_index("config", "mm_layers", [0, 3]),
    "another depth": change_index("config", "num_layers", 4),
    "other weight shapes": change_index("weight_shapes", "adapter.rope.bands", [[3], "torch.float32"]),
    "no case in the index": change_index("cases", {}),
    "a case left out of the index": lambda folder: leave_out(folder, "sr_1080p_local"),
    "an unlisted file": lambda folder: shutil.copy(folder / "base_t2v.safetensors", folder / "base_new.safetensors"),
    "sampler cases missing": lambda folder: shutil.copy(KEPT / "schedules.json", folder),
    "a Turbo decoder without weights": lambda folder: (folder / "turbo_unpatchify.json").write_text("{}"),
}


def test_an_untouched_set_passes(folder, capsys):
    code, rows = run(folder, capsys)
    assert code == 0
    assert [row["case"] for row in rows] == [name for name in CASES for _ in range(6)]
    assert all(set(row) == {"case", "output", "rel_error", "max_abs", "tolerance", "ok"} for row in rows)
    assert {row["tolerance"] for row in rows} == {1e-5}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_tampered_set_fails(folder, capsys, name):
    DAMAGES[name](folder)
    code, rows = run(folder, capsys)
    assert code != 0
    assert code == 2 or any(not row["ok"] for row in rows)


BF16_DAMAGES = {
    "no recording": remove("bf16/base_t2v.safetensors"),
    "the float32 recording in its place": lambda folder: shutil.copy(
        folder / "base_t2v.safetensors", folder / "bf16" / "base_t2v.safetensors"
    ),
    "a worse recording": change_tensor("bf16/base_t2v", "video_velocity", spoil(9.0)),
    "another input": change_tensor("bf16/base_t2v", "text_features", spoil(3.0)),
    "another exact answer": change_tensor("base_t2v", "video_velocity", spoil(9.0)),
    "not a number": change_tensor("bf16/base_t2v", "audio_velocity", spoil(float("nan"))),
}


def test_an_untouched_set_passes_in_bfloat16(folder, capsys):
    code, rows = run(folder, capsys, "--dtype", "bfloat16")
    assert code == 0
    assert [(row["case"], row["output"]) for row in rows] == [
        (name, output) for name in CASES for output in ("video_velocity", "audio_velocity")
    ]
    assert all(1e-3 < row["rel_error"] <= row["tolerance"] < 1e-2 for row in rows)


@pytest.mark.parametrize("name", BF16_DAMAGES)
def test_a_tampered_set_fails_in_bfloat16(folder, capsys, name):
    BF16_DAMAGES[name](folder)
    code, rows = run(folder, capsys, "--dtype", "bfloat16")
    assert code == 1
    assert any(not row["ok"] for row in rows)


def test_no_golden_directory_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "give a golden directory" in capsys.readouterr().err


def test_the_error_is_relative_to_the_recorded_numbers():
    row = compare("case", "output", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]), 1.0)
    assert (row.rel_error, row.max_abs, row.ok) == (pytest.approx(2 / 17**0.5), 2.0, True)
    zeros = compare("case", "output", torch.ones(2), torch.zeros(2), 1.0)
    assert not zeros.ok
    assert json.loads(zeros.json())["rel_error"] is None
