"""Weights in 8 bits compute as if they had been dequantised before, and take a fraction of the memory."""

from __future__ import annotations

import pytest
import torch

from engine.chunked_mlp import chunk_mlps
from engine.denoiser import ClipInput, Denoiser
from engine.eight_bit import coded, expanded, row_scales
from engine.model.layers import EightBitExpertLinear
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.weights import build_model, load_model
from hhray.errors import ConfigError
from hhray.geometry import LatentGrid
from hhray.memory_size import Format
from hhray.model_size import preset
from tiny_release import write_tiny_release

CPU, PICO, GRID = torch.device("cpu"), preset("pico"), LatentGrid(2, 4, 4)
DTYPES = {
    Format.FP32: torch.float32,
    Format.BF16: torch.bfloat16,
    Format.FP8: torch.float8_e4m3fn,
    Format.INT8: torch.int8,
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These tensors are small: on a busy machine several threads wait for each other longer than one computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def velocities(denoiser):
    text = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    batch = denoiser.start([ClipInput(GRID, GRID.decoded_frames, text, NoiseSource(3, CPU))])
    return denoiser.velocities(batch)[0]


@pytest.mark.parametrize("layout", ["official", "fp8", "int8"])
@pytest.mark.parametrize("weights", [Format.FP8, Format.INT8])
def test_8_bit_weights_compute_as_if_dequantised_before(tmp_path, layout, weights):
    folder = write_tiny_release(tmp_path / "w", parts=("distill",), layout=layout)
    (place,) = (path for path in folder.iterdir() if path.is_dir())
    model = load_model(PICO, place, CPU, weights)
    # files in 8 bits are kept as they are stored, others become what is asked for
    kept = {"official": DTYPES[weights], "fp8": torch.float8_e4m3fn, "int8": torch.int8}[layout]
    state, plain = model.state_dict(), build_model(PICO, CPU)
    assert {name for name in state if "_scale" not in name} == set(plain.state_dict())
    for name, module in model.named_modules():
        if isinstance(module, EightBitExpertLinear):
            assert state[f"{name}.weight"].dtype is kept
            scales = state[f"{name}.weight.__{'int8' if kept is torch.int8 else 'fp8'}_scale"].reshape(-1, 1)
            assert len(scales) == (1 if layout == "fp8" else len(module.values))
            dequantised = state[f"{name}.weight"].float() * scales
            plain.get_submodule(name).weight.data = dequantised
            whole = torch.cat([module.expert(index) for index in range(module.experts)])
            assert torch.equal(whole, dequantised)
        elif not list(module.children()):
            plain.get_submodule(name).load_state_dict(module.state_dict())
    with torch.inference_mode():
        pairs = zip(*(velocities(Denoiser(net, DistilledSampler())) for net in (model, plain)), strict=True)
        assert all(torch.equal(first, second) for first, second in pairs)
    if layout != "official":
        stored = load_model(PICO, place, CPU).state_dict()  # dequantised while it is loaded
        assert all(torch.equal(stored[name], tensor) for name, tensor in plain.state_dict().items())


@pytest.mark.parametrize("weights", [Format.FP8, Format.INT8])
def test_8_bit_weights_take_a_quarter_of_float32_and_half_of_bfloat16(tmp_path, weights):
    folder = write_tiny_release(tmp_path / "w", parts=("distill",)) / "distill"

    def linear_bytes(kind):
        block = load_model(PICO, folder, CPU, kind).block
        return sum(t.nbytes for t in (*block.parameters(), *block.buffers()) if t.device == CPU and t.dim() == 2)

    assert 0.25 < linear_bytes(weights) / linear_bytes(Format.FP32) < 0.27
    assert 0.5 < linear_bytes(weights) / linear_bytes(Format.BF16) < 0.54


def test_8_bit_files_with_values_that_are_not_numbers_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_tiny_release(tmp_path / "w", parts=("distill",), layout="fp8") / "distill_fp8"
    name, path = "block.layers.2.mlp.down_proj.weight", folder / "model-00001-of-00002.safetensors"
    path = next(path for path in folder.glob("*.safetensors") if name in load_file(path))
    state = load_file(path)
    state[name].view(torch.uint8)[3, 5] = 0x7F
    save_file(state, path)
    with pytest.raises(ConfigError, match=f"{name} holds values that are not finite"):
        load_model(PICO, folder, CPU, Format.FP8)


@pytest.mark.parametrize("kind", [Format.FP8, Format.INT8])
def test_a_row_of_zeros_and_a_large_row_survive_8_bits(kind):
    exact = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    exact[1], exact[2] = 0, exact[2] * 1e4
    scales = row_scales(exact, kind)
    for dtype in (torch.float32, torch.bfloat16):
        back = expanded(coded(exact, scales, kind), scales, dtype)
        assert not back[1].any()
        assert torch.equal(back, (coded(exact, scales, kind).float() * scales).to(dtype))
        assert ((back.float() - exact).norm(dim=1) <= 0.04 * exact.norm(dim=1)).all()


def test_chunks_of_tokens_change_nothing():
    whole, pieces = build_model(PICO, CPU), build_model(PICO, CPU)
    chunk_mlps(pieces, 7)
    assert pieces.state_dict().keys() == whole.state_dict().keys()
    first, second = (velocities(Denoiser(model, DistilledSampler())) for model in (whole, pieces))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
