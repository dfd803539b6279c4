"""`hhray quantize` and `hhray inspect-checkpoint`."""

from __future__ import annotations

import argparse
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.checkpoint.inspect import inspect_checkpoint
from engine.checkpoint.quantise import Format, quantise
from engine.embedded import WEIGHTS as EMBEDDED_WEIGHTS
from engine.verbs import VERBS
from engine.weights import build_meta_model, build_model, load_model
from hhray.errors import ConfigError
from hhray.model_size import preset
from tiny_release import write_tiny_release

CPU = torch.device("cpu")
PICO = preset("pico")


@pytest.fixture(scope="module")
def state():
    return {name: tensor.clone() for name, tensor in build_model(PICO, CPU).state_dict().items()}


@pytest.fixture
def source(tmp_path, state):
    folder = tmp_path / "source"
    folder.mkdir()
    names = sorted(state)
    for index in range(2):
        part = {name: state[name] for name in names[index::2]}
        save_file(part, folder / f"model-{index}.safetensors")
    (folder / "hhray.json").write_text('{"capabilities": {"t2v": true}}')
    return folder


def linears(state):
    return {name for name, tensor in state.items() if name.startswith("block.") and tensor.dim() == 2}


def run(name, *words):
    (verb,) = (verb for verb in VERBS if verb.name == name)
    parser = argparse.ArgumentParser()
    verb.configure(parser)
    return verb.run(parser.parse_args([str(word) for word in words]))


@pytest.mark.parametrize(("kind", "low", "high"), [(Format.FP8, 0.015, 0.03), (Format.INT8, 0.002, 0.012)])
def test_quantised_weights_load_within_the_reported_error(source, state, tmp_path, kind, low, high):
    report = quantise(source, tmp_path / "out", kind)
    assert set(report.errors) == linears(state)
    assert low < report.mean_error < high
    loaded = load_model(PICO, tmp_path / "out", CPU).state_dict()
    for name, tensor in state.items():
        if name in report.errors:
            error = torch.linalg.norm(loaded[name].double() - tensor) / torch.linalg.norm(tensor.double())
            assert float(error) == pytest.approx(report.errors[name], rel=1e-3)
        else:
            assert torch.equal(loaded[name], tensor)


def test_the_float8_files_have_the_public_layout(source, state, tmp_path):
    quantise(source, tmp_path / "out", Format.FP8)
    # the library's own reader accepts what our writer wrote
    files = [load_file(path) for path in sorted((tmp_path / "out").glob("*.safetensors"))]
    written = files[0] | files[1]
    assert set(written) == set(state) | {f"{name}.__fp8_scale" for name in linears(state)}
    for name in linears(state):
        assert written[name].dtype is torch.float8_e4m3fn
        assert (written[f"{name}.__fp8_scale"].dtype, written[f"{name}.__fp8_scale"].shape) == (torch.float32, (1,))
        expected = (state[name] / (state[name].abs().max() / 448)).to(torch.float8_e4m3fn)
        assert torch.equal(written[name].view(torch.uint8), expected.view(torch.uint8))
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())["weight_map"]
    assert {name: load_file(tmp_path / "out" / file)[name].shape for name, file in index.items()} == {
        name: tensor.shape for name, tensor in written.items()
    }


def test_int8_has_a_scale_for_every_output_channel(source, state, tmp_path):
    quantise(source, tmp_path / "out", Format.INT8)
    written = load_file(tmp_path / "out" / "model-0.safetensors") | load_file(tmp_path / "out" / "model-1.safetensors")
    for name in linears(state):
        scale = written[f"{name}.__int8_scale"]
        assert scale.shape == (state[name].shape[0],)
        assert torch.allclose(scale * 127, state[name].abs().amax(1))
        assert int(written[name].abs().max()) == 127


def test_a_row_of_zeros_stays_zero(source, state, tmp_path):
    name = "block.layers.1.mlp.down_proj.weight"
    zeroed = {key: tensor.clone() for key, tensor in state.items()}
    zeroed[name][2] = 0
    for path in source.glob("*.safetensors"):
        path.unlink()
    save_file(zeroed, source / "model.safetensors")
    quantise(source, tmp_path / "out", Format.INT8)
    assert not load_model(PICO, tmp_path / "out", CPU).state_dict()[name][2].any()


def test_nothing_appears_when_it_fails_and_nothing_is_overwritten(source, state, tmp_path):
    broken = {name: state[name].clone() for name in sorted(state)[1::2]}
    name = next(iter(linears(broken)))
    broken[name][0, 0] = float("nan")
    save_file(broken, source / "model-1.safetensors")
    with pytest.raises(ConfigError, match=f"{name} holds values that are not finite"):
        quantise(source, tmp_path / "out", Format.FP8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
    with pytest.raises(ConfigError, match="exists; give the name of a folder that does not"):
        quantise(source, source, Format.FP8)


def test_quantising_twice_is_refused(source, tmp_path):
    quantise(source, tmp_path / "once", Format.FP8)
    with pytest.raises(ConfigError, match="is quantised already"):
        quantise(tmp_path / "once", tmp_path / "twice", Format.INT8)


def test_a_whole_release_is_quantised_under_the_public_folder_names(source, tmp_path, capsys):
    release = tmp_path / "release"
    release.mkdir()
    source.rename(release / "distill")
    assert run("quantize", release, tmp_path / "out", "--to", "fp8", "--json") == 0
    (part,) = json.loads(capsys.readouterr().out)["parts"]
    assert part["folder"] == str(tmp_path / "out" / "distill_fp8")
    assert part["bytes_after"] < 0.5 * part["bytes_before"]
    assert 0.015 < part["mean_relative_error"] < 0.03
    facts = inspect_checkpoint(tmp_path / "out")
    assert (facts["layout"], facts["parts"]["distill"]["preset"], facts["problems"]) == ("fp8", "pico", 0)
    assert facts["parts"]["distill"]["capabilities"]["t2v"] is True
    assert facts["parts"]["distill"]["capabilities"]["i2v"] is False


def test_what_a_release_says_about_itself_is_kept_when_it_is_quantised(tmp_path):
    release = write_tiny_release(tmp_path / "release", parts=("distill",), capabilities={"edit": True})
    assert run("quantize", release, tmp_path / "out", "--to", "int8", "--json") == 0
    before, after = inspect_checkpoint(release), inspect_checkpoint(tmp_path / "out")
    assert after["servable"]
    assert before["parts"]["distill"]["capabilities"] == after["parts"]["distill"]["capabilities"]
    assert after["parts"]["distill"]["capabilities"]["edit"] is True


def test_the_small_codecs_of_a_release_come_along_when_it_is_quantised(tmp_path):
    assert run("quantize", EMBEDDED_WEIGHTS, tmp_path / "out", "--to", "fp8", "--json") == 0
    for name in ("hhray.json", "text.safetensors", "video.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (EMBEDDED_WEIGHTS / name).read_bytes()
    facts = inspect_checkpoint(tmp_path / "out")
    assert (facts["servable"], facts["why_not"], facts["problems"]) == (True, "", 0)


def test_inspection_counts_tensors_parameters_bytes_and_says_whether_they_fit(source, state, capsys):
    assert run("inspect-checkpoint", source, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    part = facts["parts"]["single"]
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    assert facts["layout"] == "single"
    assert (part["preset"], part["tensors"], part["parameters"], part["files"]) == ("pico", 51, 1_848_480, 2)
    assert part["bytes"] == part["loaded_bytes"] == part["dtypes"]["float32"] == total
    host = facts["memory"][0]
    assert (host["device"], host["needed_bytes"], host["fits"]) == ("cpu", total, True)


def test_inspection_of_a_published_size_reads_headers_only(tmp_path, capsys):
    # The full network in float32, 61 GB, as a file whose data is a hole: fast only if the data is left alone.
    header, end = {}, 0
    for name, tensor in build_meta_model(preset("15b")).state_dict().items():
        begin, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    (tmp_path / "1080p_sr").mkdir()
    with (tmp_path / "1080p_sr" / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    assert run("inspect-checkpoint", tmp_path, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    part = facts["parts"]["1080p_sr"]
    assert (facts["layout"], part["preset"], part["tensors"]) == ("official", "15b", 331)
    assert part["parameters"] == 15_299_419_136
    assert part["bytes"] == 4 * (15_299_419_136 + 16)
    assert facts["memory"][0]["needed_bytes"] == 86_339_648 + 30_555_668_480


def test_quantize_for_people_shows_sizes_and_errors(source, tmp_path, capsys):
    assert run("quantize", source, tmp_path / "out", "--to", "int8") == 0
    shown = capsys.readouterr().out
    assert "mean relative error" in shown
    assert "block.layers." in shown


def test_inspection_for_people_names_problems_and_ends_with_one(source, capsys):
    (source / "model-1.safetensors").unlink()
    assert run("inspect-checkpoint", source) == 1
    shown = capsys.readouterr().out
    assert "25 missing: " in shown
    assert "nearest known layout: plain, preset pico: 26 of 51 names" in shown.replace("\n", " ")


def test_memory_that_does_not_suffice_is_said(monkeypatch):
    from engine.checkpoint.inspect import memory_fitness

    monkeypatch.setattr("psutil.virtual_memory", lambda: argparse.Namespace(available=10**9))
    assert memory_fitness(5 * 10**8)[0]["fits"] is False
    monkeypatch.setattr("psutil.virtual_memory", lambda: argparse.Namespace(available=2 * 10**9))
    assert memory_fitness(5 * 10**8)[0]["fits"] is True


def test_inspection_says_which_components_are_there_and_whether_a_server_could_run(tmp_path, capsys):
    release = write_tiny_release(tmp_path / "release")
    assert run("inspect-checkpoint", release, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts["components"].values()) == {"stand-in"}
    assert (facts["servable"], facts["why_not"]) == (True, "")
    (release / "hhray.json").write_text('{"codecs": {"sound": "additive"}}')
    (release / "text").mkdir()
    facts = inspect_checkpoint(release)
    expected = {"text": "present", "video_vae": "absent", "turbo_vae": "absent", "audio_vae": "stand-in"}
    assert (facts["components"], facts["servable"]) == (expected, False)
    assert run("inspect-checkpoint", release) == 0
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "components: text present, video_vae absent, turbo_vae absent, audio_vae stand-in" in shown
    assert "a server cannot run from it: no folder" in shown
    (release / "video_vae").mkdir()
    assert inspect_checkpoint(release)["servable"] is True  # with the Wan decoder
