"""Float8 files of other programs load as they are: their names of scales, marks, notes and static scales."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.checkpoint.quantise import Format, quantise
from engine.weights import load_model
from hhray.errors import ConfigError
from hhray.memory_size import Format as StoredAs
from hhray.model_size import preset
from tiny_release import write_transformer

CPU, PICO = torch.device("cpu"), preset("pico")
SCALE = ".weight.__fp8_scale"
LINEAR = "block.layers.2.mlp.down_proj"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Files in the public float8 layout, and their tensors."""
    folder = tmp_path_factory.mktemp("fp8")
    write_transformer(folder / "exact", PICO, 0)
    quantise(folder / "exact", folder / "w", Format.FP8)
    files = [load_file(path) for path in sorted((folder / "w").glob("*.safetensors"))]
    return folder / "w", files[0] | files[1]


def spelt(tensors, spelling, prefix=""):
    """With scales of no dimension under another name."""
    return {
        prefix + name.replace(SCALE, spelling): tensor.reshape(()) if name.endswith(SCALE) else tensor
        for name, tensor in tensors.items()
    }


def note(text):
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


@pytest.mark.parametrize("kept", [True, False], ids=["as they are", "dequantised"])
@pytest.mark.parametrize("spelling", [".scale_weight", ".weight_scale"])
def test_other_spellings_of_a_scale_load_as_the_published_one(tmp_path, published, spelling, kept):
    folder, tensors = published
    other = spelt(tensors, spelling, "model.diffusion_model.")
    linear = f"model.diffusion_model.{LINEAR}"
    other[f"{linear}{spelling.replace('weight', 'input')}"] = torch.tensor(0.5)  # a static scale of activations
    other[f"{linear}.comfy_quant"] = note(json.dumps({"format": "float8_e4m3fn"}))
    other["model.diffusion_model.scaled_fp8"] = torch.empty(0, dtype=torch.float8_e4m3fn)
    save_file(other, tmp_path / "model.safetensors")
    weights = StoredAs.FP8 if kept else None
    one, two = (load_model(PICO, place, CPU, weights).state_dict() for place in (folder, tmp_path))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert tensor.dtype is two[name].dtype
        assert torch.equal(tensor.view(torch.uint8), two[name].view(torch.uint8)), name


def test_a_scale_for_every_row_may_be_spelt_otherwise_too(tmp_path, published):
    _, tensors = published
    other = spelt(tensors, ".weight_scale")
    rows = len(tensors[f"{LINEAR}.weight"])
    other[f"{LINEAR}.weight_scale"] = torch.linspace(0.1, 1, rows)[:, None]
    save_file(other, tmp_path / "model.safetensors")
    found = load_model(PICO, tmp_path, CPU).state_dict()[f"{LINEAR}.weight"]
    assert torch.equal(found, tensors[f"{LINEAR}.weight"].float() * torch.linspace(0.1, 1, rows)[:, None])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({f"{LINEAR}.weight_scale_inv": torch.ones(1)}, f"unexpected: {LINEAR}.weight_scale_inv"),  # it divides
        ({f"{LINEAR}.scale_weight": torch.ones(1)}, f"unexpected: {LINEAR}.scale_weight"),  # a second one
        ({f"{LINEAR}.weight{'.__fp8_scale'}": torch.ones(2, 3)}, f"without a fitting scale: {LINEAR}.weight"),  # blocks
        ({f"{LINEAR}.note": note("{}")}, f"stores {LINEAR}.note as U8"),
        ({f"{LINEAR}.weight": torch.zeros(128, 340, dtype=torch.int8)}, f"without a fitting scale: {LINEAR}.weight"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(tmp_path, published, change, expected):
    save_file(published[1] | change, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError) as caught:
        load_model(PICO, tmp_path, CPU)
    assert expected in caught.value.message
