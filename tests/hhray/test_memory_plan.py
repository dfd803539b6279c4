"""The memory plan: bytes of the specification, and what goes where on the cards it names."""

from __future__ import annotations

import argparse
import json

import pytest

from hhray.errors import ConfigError
from hhray.geometry import Resolution
from hhray.memory_exchange import communicator_bytes, int8_attention_bytes
from hhray.memory_parts import GPUS, Demand, Gpu, Place, Stage
from hhray.memory_plan import check_room, plan_memory, shared_activation_bytes
from hhray.memory_recipes import ALL_STAND_INS
from hhray.memory_size import (
    Format,
    activation_bytes,
    eight_bit_workspace,
    layer_bytes,
    outer_bytes,
    padding_bytes,
    transformer_bytes,
)
from hhray.model_size import ModelSize, preset
from hhray.parallel_layout import ParallelLayout
from hhray.plan_verbs import VERBS

FULL = preset("15b")
ALL = tuple(Resolution)
GB = 1e9


def plan(card, tiers=ALL, duration=5, ranks=1):
    return plan_memory(GPUS[card] if isinstance(card, str) else card, Demand(FULL, tuple(tiers), duration, ranks))


def placed(made):
    return {item.name: (item.format, item.place) for item in made.components}


def test_transformer_bytes_are_those_of_the_published_files():
    assert transformer_bytes(FULL, Format.BF16) == 86_339_648 + 30_555_668_480
    assert transformer_bytes(FULL, Format.FP32) == 61_197_676_608
    # published float8 files have one scale a tensor; weights quantised while they are loaded have one a row
    assert 86_339_648 + 15_277_834_240 < transformer_bytes(FULL, Format.FP8) == transformer_bytes(FULL, Format.INT8)
    assert transformer_bytes(FULL, Format.INT8) / GB == pytest.approx(15.4, abs=0.05)


@pytest.mark.parametrize("name", ["pico", "tiny", "15b"])
def test_transformer_bytes_equal_the_networks_own(name):
    from engine.weights import build_meta_model

    tensors = build_meta_model(preset(name)).state_dict()
    linears = sum(t.numel() for key, t in tensors.items() if key.startswith("block.") and t.dim() == 2)
    others = sum(t.numel() for t in tensors.values()) - linears
    assert transformer_bytes(preset(name), Format.BF16) == 2 * linears + 4 * others


@pytest.mark.parametrize(
    ("tokens", "fused", "chunked"),
    [
        (4_030, 0.5, 0.8), (14_782, 1.7, 1.3), (29_886, 3.4, 1.9), (87_176, 9.8, 4.2), (65_726, 7.4, 3.4),
        (129_091, 14.5, 6.0), (192_456, 21.7, 8.6),
    ],
)  # fmt: skip
def test_activations_are_those_of_the_specification(tokens, fused, chunked):
    # specification 5.4: columns "fused act" and "token-chunked MLP (8k)", or attention if larger
    attention = {65_726: 3.9, 129_091: 7.7, 192_456: 11.4}.get(tokens, tokens * 59_300 / GB)
    assert activation_bytes(FULL, tokens, chunked_mlp=False) / GB == pytest.approx(fused, abs=0.06)
    if tokens > 8192:  # below, all tokens are one chunk
        assert activation_bytes(FULL, tokens, chunked_mlp=True) / GB == pytest.approx(max(chunked, attention), abs=0.06)


def test_141_gb_hold_everything_for_every_tier_and_length():
    made = plan("h200", duration=15)
    assert set(placed(made).values()) == {(Format.BF16, Place.RESIDENT)}
    assert {"base", "540p_sr", "1080p_sr", "text encoder", "video VAE", "Turbo VAE", "audio VAE"} == set(placed(made))
    assert made.host_bytes == 0
    assert made.peak_bytes < 141 * GB


def test_80_gb_with_float8_units_hold_all_tiers_in_float8():
    made = placed(plan("h100"))
    assert {made[name] for name in ("base", "540p_sr", "1080p_sr", "text encoder")} == {(Format.FP8, Place.RESIDENT)}


def test_80_gb_without_float8_units_hold_all_tiers_in_int8():
    made = placed(plan("a100"))
    assert {made[name] for name in ("base", "540p_sr", "1080p_sr", "text encoder")} == {(Format.INT8, Place.RESIDENT)}


@pytest.mark.parametrize("card", ["h100", "a100"])
def test_80_gb_hold_one_super_resolution_in_bfloat16_with_the_encoder_offloaded(card):
    made = plan(card, [Resolution.P1080])
    assert placed(made)["base"] == placed(made)["1080p_sr"] == (Format.BF16, Place.RESIDENT)
    assert placed(made)["text encoder"] == (Format.BF16, Place.OFFLOADED)
    assert "540p_sr" not in placed(made)
    assert made.host_bytes == 18_483_411_968


def test_24_gb_swap_float8_components_stage_by_stage():
    made = plan("rtx4090")
    assert {place for _, place in placed(made).values()} == {Place.SWAPPED}
    assert placed(made)["base"] == (Format.FP8, Place.SWAPPED)
    # 17-18 and about 20 GB in the specification, which leaves out latents and the linear that is expanded
    assert 16 * GB < made.stage_bytes[Stage.SR_540P] < 19.3 * GB
    assert 20 * GB < made.stage_bytes[Stage.SR_1080P] < 21.8 * GB
    assert made.host_bytes > 3 * 15.3 * GB


def test_long_1080p_on_24_gb_takes_the_layers_of_super_resolution_one_by_one():
    assert placed(plan("rtx4090", duration=8))["1080p_sr"] == (Format.FP8, Place.SWAPPED)
    for duration, needed in ((10, 19.0), (15, 15.9)):
        made = plan("rtx4090", duration=duration)
        assert placed(made)["base"] == (Format.FP8, Place.SWAPPED)
        assert placed(made)["540p_sr"] == placed(made)["1080p_sr"] == (Format.FP8, Place.OFFLOADED)
        # two edge layers of 0.82 GB, 0.4 GB, latents, the reserve; 14.5 GB, or in chunks 11.4 GB (specification 5.4)
        assert made.stage_bytes[Stage.SR_1080P] / GB == pytest.approx(needed, abs=0.4)
    two = plan("rtx4090", duration=10, ranks=2)
    assert placed(two)["1080p_sr"] == (Format.FP8, Place.SWAPPED)


def test_what_cannot_fit_is_refused_with_the_smallest_change_that_would():
    wide = ModelSize("wide", 40, 4, 10_240, 80, 8, 128, 3_584)
    with pytest.raises(ConfigError) as caught:
        plan_memory(GPUS["rtx4090"], Demand(wide, ALL, 15))
    message = caught.value.message
    assert "1080P clips of 15 seconds on 1 GPU(s) need 31.7 GB each, and there are 24 GB" in message
    assert "the smallest change that fits: at most 9 seconds or tiers up to 720P or 2 such GPUs" in message
    for demand in (Demand(wide, ALL, 9), Demand(wide, ALL[:3], 15), Demand(wide, ALL, 15, 2)):
        assert plan_memory(GPUS["rtx4090"], demand).peak_bytes <= 24 * GB


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("h100", (Format.BF16, Place.SWAPPED, Place.SWAPPED)),
        (Gpu(48, True), (Format.BF16, Place.SWAPPED, Place.SWAPPED)),
        (Gpu(34, True), (Format.BF16, Place.SWAPPED, Place.OFFLOADED)),
        ("rtx4090", (Format.BF16, Place.OFFLOADED, Place.OFFLOADED)),
    ],
)
def test_bfloat16_that_is_wished_for_is_kept_by_moving_weights(card, expected):
    made = plan_memory(GPUS[card] if isinstance(card, str) else card, Demand(FULL, ALL, 5, precision=Format.BF16))
    assert {kind for kind, _ in placed(made).values()} == {Format.BF16}
    assert (Format.BF16, placed(made)["base"][1], placed(made)["1080p_sr"][1]) == expected


@pytest.mark.parametrize("kind", [Format.FP8, Format.INT8])
def test_8_bits_that_are_wished_for_are_taken_where_16_would_fit(kind):
    made = plan_memory(GPUS["h200"], Demand(FULL, ALL, 5, precision=kind))
    assert placed(made)["base"] == (kind, Place.RESIDENT)
    assert placed(made)["text encoder"] == (Format.BF16, Place.RESIDENT)  # nobody asked for less
    without = plan_memory(GPUS["a100"], Demand(FULL, [Resolution.P256], 5, precision=kind))
    assert placed(without)["base"] == (kind, Place.RESIDENT)  # a card without float8 units expands them
    small = plan_memory(None, Demand(preset("pico"), stand_ins=ALL_STAND_INS, precision=kind))
    assert {one for one, _ in placed(small).values()} == {kind}
    assert plan_memory(GPUS["h200"], Demand(FULL, ALL, 5)).peak_bytes > made.peak_bytes


def test_8_bit_products_need_little_beside_the_weights():
    # a linear of 27,304 x 5,120 expanded to bfloat16, or 4,096 tokens of 20,480 channels in float32
    assert eight_bit_workspace(FULL) == max(2 * 27_304 * 5_120, 4 * 4_096 * 20_480)
    each = (7_216 - 7_208) * 5_120
    swiglu = each + (27_312 - 27_304) * 5_120 + 5_120 * (13_664 - 13_652)
    assert padding_bytes(FULL) == 12 * each + (32 + 12) * swiglu
    assert padding_bytes(ModelSize("even", 2, 0, 64, 4, 2, 16, 64, gelu_layers=frozenset({0, 1}))) == 2 * 12 * 64


def test_layers_and_the_rest_make_up_a_transformer():
    assert layer_bytes(FULL, 4, Format.BF16) == 2 * 272_824_576 + 2 * (5_120 + 5_120 + 128 + 128)
    assert layer_bytes(FULL, 0, Format.BF16) == 2 * 818_535_168 + 2 * 3 * (5_120 + 5_120 + 128 + 128)
    assert outer_bytes(FULL) == 4 * (19_676_160 + 1_320_960 + 16)


def test_gpus_that_share_a_clip_count_process_groups():
    made = [plan("h200", [Resolution.P1080], 15, ranks) for ranks in (1, 2, 4, 8)]
    sizes = ((1,), (2, 1), (4, 2, 1), (8, 4, 2, 1))
    assert [one.communicator_bytes for one in made] == [communicator_bytes(blocks, linked=True) for blocks in sizes]
    assert made[0].communicator_bytes == 0
    # the 3.28 GB of 8 H100, and the rest of a group; 2 channels of 32 where there is no NVLink
    assert communicator_bytes((8,), linked=True) == 7 * 32 * 14 * 2**20 + 688 * 2**20
    assert communicator_bytes((2,), linked=False) == (2 * 14 + 34) * 2**20
    for one in made:
        assert one.room_bytes[Stage.TEXT] == 141 * GB - one.stage_bytes[Stage.TEXT] + 0.5 * GB
        assert one.other_bytes(Stage.TEXT) == 2 * GB + one.communicator_bytes


def test_keys_of_other_gpus_are_counted_where_they_are_the_peak():
    tokens = 192_456
    alone, shared = (shared_activation_bytes(FULL, n, ranks, True) for n, ranks in ((tokens // 4, 1), (tokens, 4)))
    # beside a quarter of the tokens: keys and values of all, sent and received, in place of the quarter's mixed values;
    # and four latents of all, of 192 numbers a token
    exchanged, latents = 2 * tokens * 4096 - tokens // 4 * 2 * 5120, 4 * 4 * 192 * (tokens - tokens // 4)
    assert shared - alone == exchanged + latents
    assert exchanged > GB
    made = plan("h200", [Resolution.P1080], 15, 4)
    assert made.room_bytes[Stage.SR_1080P] > shared
    fixed = shared_activation_bytes(FULL, tokens, 8, True, ParallelLayout(8, 1))
    assert fixed < shared_activation_bytes(FULL, tokens, 8, True)  # the most of all that may be chosen


def test_a_clip_goes_to_fewer_gpus_only_if_they_have_room():
    made, tokens = plan("rtx4090", duration=10, ranks=2), 129_091
    check_room(made, FULL, Stage.SR_1080P, tokens, 2, None)
    with pytest.raises(ConfigError, match=r"129091 tokens of 1080p_sr on 1 GPU\(s\) need .* let more GPUs share"):
        check_room(made, FULL, Stage.SR_1080P, tokens, 1, None)
    small = plan_memory(None, Demand(preset("pico"), stand_ins=ALL_STAND_INS))
    check_room(small, preset("pico"), Stage.BASE, 10**9, 1, None)  # a CPU has no limit


def test_a_layout_is_planned_for_the_gpus_there_are():
    with pytest.raises(ConfigError, match="choose degrees that multiply to 2"):
        plan_memory(GPUS["h200"], Demand(FULL, ranks=2, layout=ParallelLayout(4, 1)))


def test_24_gb_without_float8_units_use_int8():
    made = placed(plan(Gpu(24, False), ALL[:3]))
    assert made["base"] == (Format.INT8, Place.SWAPPED)


def test_a_preview_needs_no_super_resolution_weights():
    made = plan("a100", [Resolution.P256])
    assert set(made.stage_bytes) == {Stage.TEXT, Stage.BASE, Stage.DECODE}
    assert set(placed(made).values()) == {(Format.BF16, Place.RESIDENT)}


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (Gpu(16, True), "needs a GPU of at least 24 GB, this one has 16 GB; a CPU runs the small presets"),
        (Gpu(192, True, "amd"), "runs on NVIDIA GPUs, this one is of amd; a CPU runs the small presets"),
        (None, "needs an NVIDIA GPU; a CPU runs the small presets"),
    ],
)
def test_cards_that_cannot_be_used_are_refused_in_a_sentence(gpu, expected):
    with pytest.raises(ConfigError, match=expected):
        plan(gpu)


@pytest.mark.parametrize(
    "demand", [Demand(FULL, ()), Demand(FULL, ALL, 16), Demand(FULL, ALL, 5, 3), Demand(preset("pico"), ())]
)
def test_a_demand_that_makes_no_sense_is_refused(demand):
    with pytest.raises(ConfigError, match="a plan is for one tier or more, 3 to 15 seconds and 1, 2, 4 or 8 GPUs"):
        plan_memory(GPUS["h200"], demand)


@pytest.mark.parametrize("name", ["tiny", "pico"])
def test_small_presets_run_on_the_cpu(name):
    made = plan_memory(None, Demand(preset(name), stand_ins=ALL_STAND_INS))
    assert placed(made) == dict.fromkeys(("base", "540p_sr", "1080p_sr"), (Format.FP32, Place.HOST))
    assert made.peak_bytes == 0
    made = plan_memory(GPUS["rtx4090"], Demand(preset(name), ladder={}, stand_ins=ALL_STAND_INS))
    assert placed(made) == {"base": (Format.FP32, Place.RESIDENT)}
    assert made.peak_bytes > 0


def test_a_plan_counts_what_is_served_and_nothing_else():
    ladder = {Resolution.P720: Stage.SR_1080P}
    made = plan_memory(GPUS["h200"], Demand(FULL, ALL, 5, ladder=ladder, decoder="wan", stand_ins=frozenset({"text"})))
    assert set(placed(made)) == {"base", "1080p_sr", "video VAE", "audio VAE"}
    assert set(made.stage_bytes) == {Stage.TEXT, Stage.BASE, Stage.SR_1080P, Stage.DECODE}
    sizes = Demand(FULL, ALL, 5, ladder={Resolution.P720: Stage.SR_1080P, Resolution.P1080: Stage.SR_1080P})
    assert plan_memory(GPUS["h200"], sizes).other_bytes(Stage.SR_1080P) > made.other_bytes(Stage.SR_1080P)


@pytest.mark.parametrize("gpu_gb", [24, 32, 48, 80, 96, 141, 180])
@pytest.mark.parametrize("has_fp8", [True, False])
def test_a_plan_never_exceeds_the_card_and_more_memory_never_fits_less(gpu_gb, has_fp8):
    longest = []
    for memory in (gpu_gb, gpu_gb + 20):
        fitting = [0]
        for duration in (3, 5, 10, 15):
            try:
                made = plan(Gpu(memory, has_fp8), duration=duration)
            except ConfigError:
                continue
            fitting.append(duration)
            assert made.peak_bytes <= memory * GB
        longest.append(fitting[-1])
    assert longest[0] <= longest[1]


def run(*words):
    (verb,) = VERBS
    parser = argparse.ArgumentParser()
    verb.configure(parser)
    return verb.run(parser.parse_args(words))


def test_the_table_shows_components_stages_and_peak(capsys):
    assert run("--gpu-gb", "24") == 0
    shown = capsys.readouterr().out
    for word in ("text encoder", "1080p_sr", "fp8", "swapped", "GB in decode", "peak"):
        assert word in shown


def test_a_wished_precision_on_the_command_line(capsys):
    assert run("--gpu", "h200", "--precision", "fp8", "--json") == 0
    formats = {item["name"]: item["format"] for item in json.loads(capsys.readouterr().out)["components"]}
    assert {formats[name] for name in ("base", "540p_sr", "1080p_sr")} == {"fp8"}


def test_attention_in_8_bits_needs_room_for_what_it_rounds(capsys):
    """Per token 40 query and 8 key heads of 128: 1 byte of a query, 7 of a key and its value."""
    layout, card = ParallelLayout(1, 4), Gpu(24, True)
    assert int8_attention_bytes(FULL, 1000, layout) == 250 * 40 * 128 + 7 * 1000 * 8 * 128
    assert int8_attention_bytes(FULL, 1000, ParallelLayout(4, 1)) == 250 * 40 * 128 + 7 * 1000 * 2 * 128
    plain, int8 = (plan_memory(card, Demand(FULL, ALL, 5, int8_attention=one)) for one in (False, True))
    assert plain.chunked_mlp  # so that attention is the peak
    assert int8.chunked_mlp
    more = int8.stage_bytes[Stage.SR_1080P] - plain.stage_bytes[Stage.SR_1080P]
    assert 1.5 * GB > more > 0.5 * GB
    assert int8.room_bytes == plain.room_bytes
    room = plain.room_bytes[Stage.SR_1080P]
    shapes = [(tokens, 1, True, None) for tokens in range(50_000, 200_000, 500)]
    fits = [shape[0] for shape in shapes if shared_activation_bytes(FULL, *shape, int8_attention=False) <= room]
    too_large = [shape[0] for shape in shapes if shared_activation_bytes(FULL, *shape, int8_attention=True) > room]
    tokens = fits[-1]
    assert too_large[0] < tokens
    check_room(plain, FULL, Stage.SR_1080P, tokens, 1, None)
    with pytest.raises(ConfigError, match="let more GPUs share the clip"):
        check_room(int8, FULL, Stage.SR_1080P, tokens, 1, None)
    assert run("--gpu-gb", "24", "--attention-precision", "int8", "--json") == 0
    assert json.loads(capsys.readouterr().out)["stage_bytes"][Stage.SR_1080P] == int8.stage_bytes[Stage.SR_1080P]


def test_the_plan_as_json(capsys):
    assert run("--gpu", "a100", "--tier", "1080P", "--tier", "256P", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["components"][0] == {
        "name": "text encoder", "stage": "text", "format": "bf16", "place": "offloaded", "num_bytes": 18_483_411_968,
        "working_bytes": 792_781_141,
    }  # fmt: skip
    assert facts["peak_bytes"] == max(facts["stage_bytes"].values()) < 80 * GB
