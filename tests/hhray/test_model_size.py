"""Sizes of the presets against the numbers of the model specification."""

from __future__ import annotations

import pytest

from hhray.cost import CostModel, stream_tokens
from hhray.errors import ConfigError
from hhray.geometry import ClipGeometry, LatentGrid, Ratio, Resolution
from hhray.memory_parts import Stage
from hhray.model_size import EMBEDDED_SHARE, PRESETS, preset
from hhray.served_model import ServedModel
from hhray.step_work import ClipTokens, layer_flops, step_flops


def test_the_15b_preset_has_the_published_widths():
    size = preset("15b")
    assert (size.num_layers, size.num_edge, size.hidden, size.num_kv_heads) == (40, 4, 5120, 8)
    assert size.qkv_rows == 7208
    assert size.swiglu_width == 13652
    assert size.gelu_width == 20480
    assert size.attention_width == 5120
    assert size.weights_per_token() == 10_912_645_120


@pytest.mark.parametrize("name", PRESETS)
def test_edges_are_at_both_ends_and_gelu_only_at_the_first(name):
    size = preset(name)
    edges = [layer for layer in range(size.num_layers) if size.is_edge(layer)]
    assert edges == [*range(size.num_edge), *range(size.num_layers - size.num_edge, size.num_layers)]
    assert [layer for layer in range(size.num_layers) if size.uses_gelu(layer)] == [*range(size.num_edge)]


def test_tiny_has_the_real_layers_and_kv_heads():
    size = preset("tiny")
    assert (size.num_layers, size.num_edge, size.num_kv_heads, size.hidden) == (40, 4, 8, 128)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="no model preset '16b'; there are: tiny, pico, 15b"):
        preset("16b")


def test_a_token_of_the_15b_model_costs_21_83_gigaflop_a_step_besides_attention():
    size = preset("15b")
    assert layer_flops(size, LatentGrid(1, 2, 2), 1000, None).total == (
        2 * 10_912_645_120 * 1000 + 4 * 1000**2 * 5120 * 40
    )


def flops(size, grid, audio_latents):
    return step_flops(size, ClipTokens(grid, audio_latents, 64)).total


def test_seconds_follow_ranks_items_and_pixels():
    geometry = ClipGeometry(Resolution.P720, Ratio.R16_9, 5)
    assert stream_tokens(ServedModel(preset("tiny")).base_grid(geometry), geometry.audio_latents) == 3584 + 125 + 64
    served = ServedModel(preset("tiny"))
    cost = CostModel(served, 1e10, 1e7)
    base = served.passes(geometry)[0]
    one = cost.step_seconds(base, 125)
    assert one == flops(preset("tiny"), base.grid, 125) / 1e10
    assert cost.steps_seconds(geometry) == (one,) * 8
    assert cost.step_seconds(base, 125, ranks=2) == pytest.approx(one / 2, rel=1e-12)
    assert cost.step_seconds(base, 125, items=3) == pytest.approx(3 * one, rel=1e-12)
    assert cost.decode_seconds(geometry) == 1280 * 720 * 125 / 1e7
    assert cost.gpu_seconds(geometry) == pytest.approx(8 * one + cost.decode_seconds(geometry), rel=1e-12)


def test_super_resolution_and_guidance_are_paid_for():
    geometry = ClipGeometry(Resolution.P480, Ratio.R16_9, 5)
    served = ServedModel(preset("tiny"), ladder={Resolution.P480: Stage.SR_540P}, guided=True)
    base, finer = served.passes(geometry)
    assert (base.num_steps, base.forwards, base.grid) == (32, 2, LatentGrid(32, 16, 28))
    assert (finer.stage, finer.num_steps, finer.forwards, finer.grid) == (Stage.SR_540P, 5, 1, geometry.run_grid)
    assert served.num_steps(geometry) == 37
    assert served.passes(ClipGeometry(Resolution.P1080, Ratio.R16_9, 5)) == (base,)  # no ladder for this tier
    steps = CostModel(served, 1e10, 1e7).steps_seconds(geometry)
    assert steps[:32] == (2 * flops(preset("tiny"), base.grid, 125) / 1e10,) * 32
    assert steps[32:] == (flops(preset("tiny"), geometry.run_grid, 125) / 1e10,) * 5


def test_a_small_native_size_makes_a_small_base_pass():
    geometry = ClipGeometry(Resolution.P720, Ratio.R16_9, 3)
    served = ServedModel(preset("embedded"), native_share=EMBEDDED_SHARE)
    (base,) = served.passes(geometry)
    assert (str(served.native(geometry)), base.grid) == ("160x96", LatentGrid(20, 6, 10))
    steps = CostModel(served, 1e10, 1e7).steps_seconds(geometry)
    assert steps == (flops(served.size, LatentGrid(20, 6, 10), 77) / 1e10,) * 8
