"""From a folder of weights to what a server runs, by headers alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.checkpoint.shapes import expected_tensors, size_from_shapes
from engine.release import network_size, served_model
from engine.weights import build_meta_model
from hhray.capabilities import Capabilities
from hhray.errors import ConfigError
from hhray.geometry import Resolution
from hhray.memory_parts import Stage
from hhray.model_size import PRESETS, preset
from tiny_release import random_state, write_tiny_release

PICO = preset("pico")
CUSTOM = replace(PICO, name="custom", num_heads=4, num_kv_heads=2, num_layers=7, text_channels=48)
WISHES = {Resolution.P480: "540p_sr", Resolution.P720: "540p_sr", Resolution.P1080: "1080p_sr"}
LADDER = {Resolution.P480: Stage.SR_540P, Resolution.P720: Stage.SR_540P}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases") / "pico"
    return write_tiny_release(folder, parts=("base", "distill", "540p_sr"), capabilities={"t2v": True, "r2v": True})


@pytest.mark.parametrize("size", [*PRESETS.values(), CUSTOM], ids=lambda size: size.name)
def test_shapes_and_sizes_follow_from_each_other(size):
    shapes = {name: tuple(tensor.shape) for name, tensor in build_meta_model(size).state_dict().items()}
    assert list(expected_tensors(size).items()) == list(shapes.items())
    found = size_from_shapes(shapes)
    assert found.name == size.name
    assert expected_tensors(found) == shapes
    if size is not CUSTOM:
        assert found is size


def test_without_a_folder_a_small_preset_is_served_with_random_weights():
    served = served_model(None, "tiny", WISHES)
    assert (served.size, served.ladder, served.guided) == (preset("tiny"), {}, False)
    with pytest.raises(ConfigError, match="'15b' needs a checkpoint; `hhray fetch-weights` gets one"):
        served_model(None, "15b", WISHES)


def test_a_folder_says_size_capabilities_and_ladder(release):
    served = served_model(release, "tiny", WISHES)
    assert served.size is PICO
    assert served.capabilities == Capabilities(t2v=True, i2v=False, a2v=False, r2v=True, edit=False)
    assert served.ladder == LADDER  # 1080p_sr is not there: those clips are enlarged after decode
    assert not served.guided
    assert served_model(release, "tiny", {Resolution.P720: "none"}).ladder == {}
    with pytest.raises(ConfigError, match="no super-resolution 'sharp' for 720P; choose one of: none, 540p_sr"):
        served_model(release, "tiny", {Resolution.P720: "sharp"})


def test_base_weights_are_guided_and_taken_when_asked_for_or_alone(release, tmp_path):
    assert served_model(release, "tiny", WISHES, base="base").guided
    alone = write_tiny_release(tmp_path / "alone", parts=("base",))
    assert served_model(alone, "tiny", WISHES).guided
    with pytest.raises(ConfigError, match=r"has no distill weights; it has base\. `hhray fetch-weights --from"):
        served_model(alone, "tiny", WISHES, base="distill")
    with pytest.raises(ConfigError, match="choose one of: auto, distill, base"):
        served_model(alone, "tiny", WISHES, base="best")


@pytest.mark.parametrize("layout", ["diffusers", "fp8", "int8"])
def test_every_layout_is_understood(tmp_path, layout):
    served = served_model(write_tiny_release(tmp_path / "w", layout=layout), "tiny", WISHES)
    assert (served.size, served.ladder) == (PICO, LADDER)


def test_a_folder_of_one_transformer_is_one_without_ladder(release, tmp_path):
    for path in (release / "distill").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "hhray.json").write_bytes((release / "hhray.json").read_bytes())
    served = served_model(tmp_path, "tiny", WISHES)
    assert (served.size, served.ladder, served.guided) == (PICO, {}, False)
    assert served_model(tmp_path, "tiny", WISHES, base="base").guided


def test_other_sizes_are_read_from_the_files(tmp_path):
    folder = write_tiny_release(tmp_path / "w", size=CUSTOM, parts=("distill",))
    size = served_model(folder, "tiny", WISHES).size
    assert size.name == "custom"
    assert (size.num_layers, size.hidden, size.num_heads, size.num_kv_heads, size.head_dim) == (7, 128, 4, 2, 16)
    assert size.text_channels == 48
    assert [index for index in range(7) if size.is_edge(index)] == [0, 6]
    assert [index for index in range(7) if size.uses_gelu(index)] == [0]


def test_headers_that_do_not_fit_are_listed(tmp_path):
    state = random_state(CUSTOM, 0)
    del state["final_norm_audio.weight"], state["block.layers.3.attention.q_norm.weight"]
    state["block.layers.2.mlp.down_proj.weight"] = torch.zeros(5, 7)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError) as caught:
        network_size(tmp_path)
    message = caught.value.message
    assert "2 missing: block.layers.3.attention.q_norm.weight, final_norm_audio.weight" in message
    assert "block.layers.2.mlp.down_proj.weight [5, 7], expected [128, " in message


def test_a_damaged_preset_is_compared_with_that_preset(tmp_path):
    state = random_state(PICO, 0)
    del state["adapter.video_embedder.weight"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"not the pico network: 1 missing: adapter\.video_embedder\.weight"):
        network_size(tmp_path)


def test_super_resolution_of_another_size_is_refused(tmp_path):
    folder = write_tiny_release(tmp_path / "w", parts=("distill",))
    other = write_tiny_release(tmp_path / "other", size=CUSTOM, parts=("540p_sr",))
    (other / "540p_sr").rename(folder / "540p_sr")
    with pytest.raises(ConfigError, match="hold networks of different sizes"):
        served_model(folder, "tiny", WISHES)


def test_components_are_there_or_declared(tmp_path):
    folder = write_tiny_release(tmp_path / "w", parts=("distill",))
    (folder / "hhray.json").write_text(json.dumps({"codecs": {"text": "bytewise"}}))
    (folder / "video_vae").mkdir()
    with pytest.raises(ConfigError) as caught:
        served_model(folder, "tiny", WISHES)
    message = caught.value.message
    assert f"no folder {folder / 'turbo_vae'}, {folder / 'audio_vae'}" in message
    assert f"hhray fetch-weights --from huggingface --to {folder} --parts turbo_vae,audio_vae" in message
    (folder / "audio_vae").mkdir()
    assert served_model(folder, "tiny", WISHES, decoder="wan").capabilities == Capabilities()
    with pytest.raises(ConfigError, match="choose one of: turbo, wan"):
        served_model(folder, "tiny", WISHES, decoder="best")


@pytest.mark.parametrize("said", ['{"codecs": {"text": "real"}}', '{"codecs": []}', '{"codecs": {"smell": "x"}}', "{}"])
def test_stand_ins_that_do_not_exist_are_refused(tmp_path, said):
    folder = write_tiny_release(tmp_path / "w", parts=("distill",))
    (folder / "hhray.json").write_text(said)
    with pytest.raises(ConfigError, match="is not understood"):
        served_model(folder, "tiny", WISHES)


def test_what_is_served_is_found_out_without_torch(release):
    script = (
        "import sys; from pathlib import Path; from engine.release import served_model\n"
        f"print(served_model(Path({str(release)!r}), 'tiny', {{}}).size.name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["pico", "False"]


def test_tiny_releases_differ_by_part_and_seed(release, tmp_path):
    again = write_tiny_release(tmp_path / "again", parts=("base", "distill"))
    first, second, other = (
        load_file(folder / "model-00001-of-00002.safetensors")["adapter.video_embedder.weight"]
        for folder in (release / "base", again / "base", again / "distill")
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
