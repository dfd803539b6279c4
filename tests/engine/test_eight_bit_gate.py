"""The quality gate of 8-bit arithmetic: how far final latents lie from those of 16 or 32 bits, and how far they may.

Relative errors ||x - y|| / ||y|| of video and sound latents after eight steps. Measured in torch 2.13 on a CPU, float8
with scaled products, int8 with expanded weights; the limits are about half as much again:

| network | float8 | int8 |
|---|---|---|
| golden, 5 layers of 64 channels, random weights | 0.080 0.062 | 0.018 0.012 |
| full depth, 40 layers of 128 channels, random weights | 0.177 0.183 | 0.041 0.037 |
| embedded, 10 layers of 176 channels, trained | 0.023 0.008 | 0.005 0.002 |

Attention with queries and keys in int8 (`engine.attention_precision`), plain linears; half as much again for limits:

| network | in bfloat16 | in float32 |
|---|---|---|
| golden | 0.0075 0.0057 | 0.0022 0.0020 |
| full depth | 0.0160 0.0125 | 0.0082 0.0077 |
| embedded | | 0.0069 0.0013 |

In bfloat16 every change of rounding grows by itself; float32 shows what the rounding of queries and keys does.

All block linears are in 8 bits, as in public float8 files; norms, embedders and the two final linears are float32. What
keeping more would give was measured too: no group of linears stands out. In float8 at full depth, with the first four
layers in bfloat16 0.124 0.137, the last four 0.154 0.180, both 0.138 0.141, all that go down 0.147 0.180, all of the
attention's inputs 0.165 0.165; in the trained network with the first four 0.022, with the last four 0.017.
"""

from __future__ import annotations

import pytest
import torch

from engine.attention import attend_blocks, attend_blocks_int8, attention_backends
from engine.denoiser import ClipInput, Denoiser
from engine.embedded import WEIGHTS
from engine.messages import ClipJob
from engine.parity.golden_set import GoldenSet
from engine.parity.sampling import distilled_latents
from engine.pipeline import Pipeline
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.scaled_product import why_not_scaled
from engine.weights import build_model, quantise_linears
from hhray.geometry import LatentGrid, Resolution
from hhray.memory_size import Format
from hhray.model_size import preset

CPU = torch.device("cpu")
GRID = LatentGrid(2, 4, 4)
LIMITS = {
    "golden": {Format.FP8: 0.12, Format.INT8: 0.03},
    "full depth": {Format.FP8: 0.27, Format.INT8: 0.065},
    "embedded": {Format.FP8: 0.04, Format.INT8: 0.015},
}
ATTENTION_LIMITS = {
    "golden": {torch.bfloat16: 0.012, torch.float32: 0.0035},
    "full depth": {torch.bfloat16: 0.025},
    "embedded": {torch.float32: 0.011},
}
KINDS = pytest.mark.parametrize("kind", [Format.FP8, Format.INT8])
PRODUCTS = pytest.mark.skipif(bool(why_not_scaled(CPU)), reason=f"no float8 products here: {why_not_scaled(CPU)}")
TRAINED = pytest.mark.skipif(not (WEIGHTS / "distill").is_dir(), reason="the trained weights are not in this checkout")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These tensors are small: on a busy machine several threads wait for each other longer than one computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def check(limit, made, exact):
    """Errors below the limit, and not so far below that nothing was quantised."""
    errors = [float((one - other).norm() / other.norm()) for one, other in zip(made, exact, strict=True)]
    assert max(errors) < limit, errors
    assert max(errors) > limit / 4, errors


@pytest.fixture(scope="module")
def golden_set(golden_folder):
    return GoldenSet(golden_folder("distill_8step_t2v"))


@pytest.fixture(scope="module")
def golden_latents(golden_set):
    with torch.inference_mode():
        return distilled_latents(golden_set, "distill_8step_t2v", golden_set.model("weights", torch.bfloat16))


@PRODUCTS
@KINDS
def test_goldens(golden_set, golden_latents, kind):
    model = golden_set.model("weights", torch.bfloat16)
    quantise_linears(model, kind, scaled=True)
    with torch.inference_mode():
        made = distilled_latents(golden_set, "distill_8step_t2v", model)
    check(LIMITS["golden"][kind], made, golden_latents)


@pytest.mark.parametrize("dtype", ATTENTION_LIMITS["golden"], ids=str)
def test_goldens_by_attention_in_8_bits(golden_set, golden_latents, dtype):
    model, exact = golden_set.model("weights", dtype), golden_latents
    with torch.inference_mode():
        if dtype is torch.float32:
            exact = distilled_latents(golden_set, "distill_8step_t2v", model)
        made = distilled_latents(golden_set, "distill_8step_t2v", model, attend_blocks_int8)
    check(ATTENTION_LIMITS["golden"][dtype], made, exact)


def deep_latents(kind=None, kernel=attend_blocks):
    """Of the 40 layers of the tiny preset in bfloat16, after eight steps."""
    model = build_model(preset("tiny"), CPU, Format.BF16)
    if kind:
        quantise_linears(model, kind, scaled=True)
    text = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    denoiser = Denoiser(model, DistilledSampler(), kernel=kernel)
    with torch.inference_mode():
        batch = denoiser.start([ClipInput(GRID, GRID.decoded_frames, text, NoiseSource(3, CPU))])
        for index in range(denoiser.sampler.num_steps):
            denoiser.step(batch, index)
    return batch.videos[0], batch.audios[0]


@pytest.fixture(scope="module")
def exact_deep_latents():
    return deep_latents()


@PRODUCTS
@KINDS
def test_full_depth(exact_deep_latents, kind):
    check(LIMITS["full depth"][kind], deep_latents(kind), exact_deep_latents)


def test_full_depth_by_attention_in_8_bits(exact_deep_latents):
    limit = ATTENTION_LIMITS["full depth"][torch.bfloat16]
    check(limit, deep_latents(kernel=attend_blocks_int8), exact_deep_latents)


def embedded_latents(**options):
    """Of a clip by the trained weights of the package, through the pipeline as anybody would call it."""
    made = Pipeline.from_pretrained("embedded", tiers=[Resolution.P256], max_seconds=3, **options).to("cpu")
    batch = made.begin([ClipJob("gate", "a red ball moving right", 5, "256P", "16:9", 3)])
    while batch.next_step < batch.num_steps:
        made.step(batch)
    return batch.latents(0), made.arithmetic


@pytest.fixture(scope="module")
def exact_embedded_latents():
    return embedded_latents()


@TRAINED
@PRODUCTS
@KINDS
def test_trained_weights(exact_embedded_latents, kind):
    exact, arithmetic = exact_embedded_latents
    latents, said = embedded_latents(precision=kind)
    assert arithmetic == "float32 weights"
    assert said == ("float8 products, scaled by rows" if kind is Format.FP8 else "int8 weights, expanded")
    check(LIMITS["embedded"][kind], latents, exact)


@TRAINED
def test_trained_weights_by_attention_in_8_bits(exact_embedded_latents):
    latents, arithmetic = embedded_latents(attention_precision="int8")
    assert arithmetic == "float32 weights"
    assert "int8 in plain torch, slow" in attention_backends().values()
    check(ATTENTION_LIMITS["embedded"][torch.float32], latents, exact_embedded_latents[0])
