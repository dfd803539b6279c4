"""The Turbo decoder against video recorded from the published implementation, in float32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.codecs.turbo import TurboConfig, TurboDecoder, decode, load_turbo

HERE = Path(__file__).parent
SHARED_GOLDEN = HERE.parents[1].parent / "shared" / "golden"
SAMPLED = 5  # the small copy kept here holds every fifth row and column of the video


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These tensors are small: on a busy machine several threads wait for each other longer than one computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def relative_error(value, reference):
    return (torch.linalg.norm(value.double() - reference.double()) / torch.linalg.norm(reference.double())).item()


def golden_decoder():
    folder = HERE / "golden"
    return load_turbo(folder / "turbo_unpatchify.json", folder / "turbo_unpatchify_weights.safetensors")


@pytest.mark.parametrize("num_latents", [1, 6])
def test_recorded_pixels_are_met(golden, num_latents):
    recorded = golden("turbo_unpatchify_sampled")
    video = decode(golden_decoder(), recorded[f"z.{num_latents}"][0])
    assert video.shape == (3, 4 * (num_latents - 1) + 1, 64, 96)
    assert video.dtype is torch.float32
    assert relative_error(video[..., ::SAMPLED, ::SAMPLED], recorded[f"video.{num_latents}"][0]) <= 1e-5


@pytest.mark.parametrize("name", ["turbo_unpatchify", "turbo_pixelshuffle"])
def test_every_recorded_clip_is_met(golden, name):
    recorded = golden(name)
    decoder = load_turbo(SHARED_GOLDEN / f"{name}.json", SHARED_GOLDEN / f"{name}_weights.safetensors")
    lengths = [key.removeprefix("z.") for key in recorded if key.startswith("z.")]
    assert len(lengths) == 4
    for length in lengths:
        video = decode(decoder, recorded[f"z.{length}"][0])
        assert relative_error(video, recorded[f"video.{length}"][0]) <= 1e-5


def test_the_official_folder_loads_to_the_same_decoder(tmp_path):
    weights = load_file(HERE / "golden" / "turbo_unpatchify_weights.safetensors")
    state = {f"module.{name}": value for name, value in weights.items()} | {"module.encoder.x": torch.zeros(1)}
    torch.save({"ema_state_dict": state, "step": 340000}, tmp_path / "checkpoint-340000.ckpt")
    config = json.loads((HERE / "golden" / "turbo_unpatchify.json").read_text())
    encoder_keys = {"_class_name": "TurboV3", "encoder_causal": True}
    (tmp_path / "TurboV3-Wan22-TinyShallow_7_7.json").write_text(json.dumps(config | encoder_keys))
    loaded = load_turbo(tmp_path).state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())

    (tmp_path / "checkpoint-340000.ckpt").unlink()
    save_file(weights, tmp_path / "turbo.safetensors")
    z = torch.randn(48, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(decode(load_turbo(tmp_path), z), decode(golden_decoder(), z))


def test_the_released_configuration_has_the_published_tensors():
    with torch.device("meta"):
        decoder = TurboDecoder(TurboConfig())
    state = decoder.state_dict()
    assert (len(state), sum(tensor.numel() for tensor in state.values())) == (80, 107_122_892)
    shapes = {
        "decoder.conv_in.conv.weight": (512, 48, 3, 3, 3),
        "decoder.mid_block.resnets.2.conv2.conv.weight": (512, 512, 3, 3, 3),
        "decoder.up_blocks.0.upsamplers.0.time_conv.conv.weight": (1024, 512, 3, 1, 1),
        "decoder.up_blocks.1.conv_in.conv_shortcut.conv.weight": (256, 512, 1, 1, 1),
        "decoder.up_blocks.2.upsamplers.0.resample.1.weight": (128, 128, 3, 3),
        "decoder.up_blocks.3.resnets.1.conv2.conv.bias": (64,),
        "decoder.conv_out.conv.weight": (12, 64, 3, 3, 3),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert not [name for name in state if "up_blocks.2.upsamplers.0.time_conv" in name or "up_blocks.0.conv_in" in name]
