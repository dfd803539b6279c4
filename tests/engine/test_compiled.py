"""Compiled kernels compute what the plain way does; where they cannot be had, the plain way goes on and says so."""

from __future__ import annotations

import logging
import shutil
import time

import pytest
import torch

from engine.activation_meter import ActivationMeter
from engine.compiled import CompiledPointwise, use_pointwise
from engine.denoiser import ClipInput, Denoiser
from engine.kernel_cache import KernelCache
from engine.kernel_trial import compiled_pointwise, kernel_cache
from engine.model.layers import swiglu7
from engine.model.pointwise import PLAIN
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.weights import build_model
from hhray.geometry import LatentGrid
from hhray.model_size import preset

CPU = torch.device("cpu")
PICO = preset("pico")
TRACED = "eager"  # torch's own backend that runs a traced region operator by operator: no C++ compiler


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture(scope="module")
def model():
    return build_model(PICO, CPU)


def clip(grid, text_tokens):
    text = torch.randn(text_tokens, PICO.text_channels, generator=torch.Generator().manual_seed(text_tokens))
    return ClipInput(grid, grid.decoded_frames, text, NoiseSource(1, CPU))


@torch.inference_mode()
def velocities(model, batch):
    denoiser = Denoiser(model, DistilledSampler(2))
    clips = [clip(*one) for one in batch]  # anew: they draw noise
    return [tensor for pair in denoiser.velocities(denoiser.start(clips)) for tensor in pair]


def test_regions_of_any_length_are_traced_once_and_give_the_plain_velocities(model):
    made = CompiledPointwise(TRACED)
    small, other_shape, smallest = (LatentGrid(2, 4, 6), 5), (LatentGrid(3, 6, 4), 9), (LatentGrid(1, 4, 4), 7)
    graphs = []
    for batch in ([small], [other_shape], [small, smallest]):
        use_pointwise(model, PLAIN)
        expected = velocities(model, batch)
        use_pointwise(model, made)
        for one, other in zip(velocities(model, batch), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    use_pointwise(model, PLAIN)
    assert made.failure == ""
    assert len(set(graphs)) == 1  # lengths, clips and modalities need no graph of their own


def test_a_kernel_that_will_not_compile_leaves_the_plain_way_and_says_why(tmp_path, caplog):
    def backend(graph, inputs):
        raise RuntimeError("no C++ compiler")

    with caplog.at_level(logging.WARNING, "engine"):
        chosen = compiled_pointwise(PICO, CPU, torch.float32, KernelCache(None, {}), CompiledPointwise(backend))
    assert chosen is PLAIN
    assert "computed without compiled kernels: norm of 1 expert(s): " in caplog.text
    assert "no C++ compiler" in caplog.text


def test_a_kernel_that_computes_something_else_is_not_used(caplog):
    def backend(graph, inputs):
        return lambda *arguments: [1.01 * one for one in graph(*arguments)]

    with caplog.at_level(logging.WARNING, "engine"):
        chosen = compiled_pointwise(PICO, CPU, torch.float32, KernelCache(None, {}), CompiledPointwise(backend))
    assert chosen is PLAIN
    assert "off by 0.01 of the largest value" in caplog.text


def test_a_kernel_that_fails_in_the_middle_of_a_clip_does_not_end_it():
    calls = []

    def backend(graph, inputs):
        calls.append(graph)
        if len(calls) > 1:
            raise OSError("the disk is full")
        return graph.forward

    made = CompiledPointwise(backend)
    float32, half = torch.randn(5, 8), torch.randn(5, 8).to(torch.bfloat16)
    for wide in (float32, half, float32):
        torch.testing.assert_close(made.activation(wide, swiglu7), PLAIN.activation(wide, swiglu7))
    assert "the disk is full" in made.failure
    assert len(calls) == 2  # it is not tried again


def test_a_single_token_and_whoever_watches_operators_get_the_plain_way():
    def backend(graph, inputs):
        raise AssertionError("compiled")

    made = CompiledPointwise(backend)
    made.activation(torch.randn(1, 8), swiglu7)
    with ActivationMeter([]) as meter:
        made.activation(torch.randn(5, 8), swiglu7)
    assert made.failure == ""
    assert meter.peak_bytes > 0


@pytest.mark.proof
@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)  # of what inductor imports
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_every_kernel_of_torchs_compiler_is_right_and_found_again_by_the_next_start(
    tmp_path, monkeypatch, keep_proof, dtype
):
    if not shutil.which("g++"):
        pytest.skip("torch compiles for a CPU with g++, and there is none")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # put back at the end
    seconds = {}
    for hits in (0, 8):
        began = time.monotonic()
        torch.compiler.reset()
        torch._dynamo.utils.counters.clear()
        cache = kernel_cache(tmp_path / "kernels", PICO, CPU, dtype, ())
        cache.open()
        made = compiled_pointwise(PICO, CPU, dtype, cache)
        assert isinstance(made, CompiledPointwise)
        counters = torch._dynamo.utils.counters["inductor"]
        assert counters["fxgraph_cache_hit"] == hits
        assert counters["fxgraph_cache_miss"] == 8 - hits
        cache.seal()
        cache.close()
        seconds["from the cache" if hits else "compiled"] = round(time.monotonic() - began, 2)
    name = str(dtype).removeprefix("torch.")
    keep_proof(f"kernel_cache_{name}", {"torch": torch.__version__, "kernels": 8, "seconds": seconds})
