"""Counted FLOPs equal torch's own counter and the published table; the projection is the arithmetic it says it is."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.bench.decoding import turbo_flops
from engine.bench.figures import StageFigures, of_all_ranks
from engine.bench.flops import local_pairs, step_flops
from engine.bench.networks import random_transformer
from engine.bench.peak import GemmPeak
from engine.bench.projection import PassCost, project
from engine.denoiser import ClipInput, Denoiser
from engine.exchange import step_bytes
from engine.local_attention import LOCAL_1080P, LocalRule
from engine.model.stream import ItemShape, TokenStream
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from hhray.geometry import LatentGrid
from hhray.local_rule import local_rule
from hhray.memory_parts import Stage
from hhray.model_size import preset
from hhray.step_work import ClipTokens, step_work

CPU = torch.device("cpu")
PICO = preset("pico")


def clip(grid, audio_latents, text_tokens):
    text = torch.zeros(text_tokens, PICO.text_channels)
    return ClipInput(grid, audio_latents, text, NoiseSource(1, CPU))


@pytest.mark.parametrize("rule", [None, LocalRule(1, frozenset({1, 3}))], ids=["full", "local"])
def test_counted_flops_of_a_step_are_those_torch_counts(rule):
    denoiser = Denoiser(random_transformer(PICO, CPU), DistilledSampler(2), local=rule)
    # torch's counter knows the attention made of matrix products, not the CPU's fused one
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        batch = denoiser.start([clip(LatentGrid(5, 4, 6), 17, 7), clip(LatentGrid(2, 6, 4), 5, 3)])
        with FlopCounterMode(display=False) as counter:
            denoiser.step(batch, 0)
    counted = step_flops(PICO, batch.branches[0].stream, rule)
    assert counted.total == counter.get_total_flops()
    assert counted.attention > 0.05 * counted.gemm  # both terms are seen


# model specification 5.1: TFLOP of the linears and of attention, with 320 text and 126 audio tokens
@pytest.mark.parametrize(
    ("height", "width", "rule", "gemm", "attention"),
    [
        (16, 28, None, 88.0, 13.3),
        (32, 56, None, 322.7, 179.0),
        (68, 120, None, 1434.8, 3538.9),
        (68, 120, LOCAL_1080P, 1434.8, 2393.4),
    ],
)
def test_counted_flops_of_the_full_network_are_those_of_the_specification(height, width, rule, gemm, attention):
    stream = TokenStream((ItemShape(LatentGrid(32, height, width), 126, 320),))
    counted = step_flops(preset("15b"), stream, rule)
    assert counted.gemm / 1e12 == pytest.approx(gemm, abs=0.06)
    assert counted.attention / 1e12 == pytest.approx(attention, abs=0.06)


@pytest.mark.parametrize("stage", [Stage.BASE, Stage.SR_540P, Stage.SR_1080P])
def test_the_cost_model_counts_what_the_benchmark_counts(stage):
    grid = LatentGrid(32, 68, 120)
    rule = local_rule(stage, 40)
    counted = step_flops(preset("15b"), TokenStream((ItemShape(grid, 125, 64),) * 3), rule)
    work = step_work(preset("15b"), ClipTokens(grid, 125, 64), rule, items=3)
    assert (work.gemm_flops, work.attention_flops) == (counted.gemm, counted.attention)


@pytest.mark.parametrize(("size", "degree"), [("15b", 2), ("15b", 4), ("15b", 8), ("pico", 2), ("pico", 8)])
def test_the_cost_model_counts_the_bytes_that_even_slices_send(size, degree):
    grid = LatentGrid(32, 16, 28)
    stream = TokenStream((ItemShape(grid, 128, 128),))
    sent = sum(step_bytes(stream, preset(size), rank, degree, 4) for rank in range(degree))
    work = step_work(preset(size), ClipTokens(grid, 128, 128), degree=degree, element_bytes=4)
    assert work.bytes_sent == pytest.approx(sent / degree, rel=1e-12)


def test_a_window_as_long_as_the_clip_leaves_all_pairs():
    item = ItemShape(LatentGrid(4, 4, 6), 9, 5)
    assert local_pairs(item, 3) == item.num_tokens**2
    assert local_pairs(item, 2) == item.num_tokens**2 - 2 * 6 * 6  # the first and the last frame miss each other


def test_the_turbo_decoder_needs_what_the_specification_says():
    assert turbo_flops(LatentGrid(32, 16, 28)) / 1e15 == pytest.approx(0.065, abs=0.001)


def test_the_projection_divides_measured_seconds_and_adds_counted_bytes():
    stream = TokenStream((ItemShape(LatentGrid(1, 2, 4), 3, 2),))  # 7 tokens: 4 on the first of two ranks
    cost = PassCost("base", 8, 0.7, stream, PICO, 4)
    sent = max(step_bytes(stream, PICO, rank, 2, 4) for rank in range(2))
    one, two, *_ = project([cost], 0.5, 1e6)
    assert one.seconds == pytest.approx(8 * 0.7 + 0.5)
    assert one.link_seconds == 0
    assert two.compute_seconds == pytest.approx(8 * 0.4)
    assert two.link_seconds == pytest.approx(8 * sent / 1e6)
    assert two.passes == {"base": pytest.approx(8 * 0.4 + 8 * sent / 1e6)}
    assert two.row(one)["speedup"] == pytest.approx((8 * 0.7 + 0.5) / (8 * 0.4 + 8 * sent / 1e6 + 0.5))


def test_half_the_link_doubles_the_link_time_and_nothing_else():
    stream = TokenStream((ItemShape(LatentGrid(3, 4, 4), 9, 4),))
    cost = PassCost("base", 2, 1.0, stream, PICO, 4)
    fast, slow = project([cost], 0.0, 2e9)[3], project([cost], 0.0, 1e9)[3]
    assert slow.link_seconds == pytest.approx(2 * fast.link_seconds)
    assert slow.link_seconds > 0
    assert slow.compute_seconds == fast.compute_seconds


def figures(device, seconds, bytes_sent):
    return StageFigures("base", "64x64", 9, 8, seconds, {"gemm": 6_000}, bytes_sent, 100 * bytes_sent, (), device)


def test_ranks_are_as_slow_as_the_slowest_in_each_step():
    both = of_all_ranks([figures("cpu", (1.0, 4.0, 2.0), 5), figures("cpu", (3.0, 1.0, 2.0), 7)])
    assert both.seconds == (3.0, 4.0, 2.0)
    assert (both.bytes_sent, both.peak_bytes) == (7, 700)
    assert both.seconds_per_clip == 8 * 3.0


def test_the_share_of_a_peak_is_that_of_one_device_and_only_of_the_kind_it_was_measured_on():
    peak = GemmPeak(2_000.0, (8, 8, 8), "bfloat16", "cuda")
    row = figures("cuda", (3.0,), 0).row(peak, 2)
    assert row["tflops_per_second"] == pytest.approx(1_000 / 1e12)
    assert row["share_of_gemm_peak"] == pytest.approx(0.5)
    assert figures("cpu", (3.0,), 0).row(peak, 1)["share_of_gemm_peak"] is None
