"""Ranks that hold video only: which they are, what they need not hold, and that their clips stay the same."""

from __future__ import annotations

import pytest
import torch

from engine.components import Components
from engine.denoiser import ClipInput, Denoiser
from engine.model.dit import AudioVideoTransformer
from engine.model.layers import ExpertLinear, ExpertNorm
from engine.model.stream import ItemShape, Modality, TokenStream
from engine.release import served_model
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.video_experts import keep_video_experts
from engine.weights import build_meta_model, fill_random
from hhray.capabilities import Capabilities
from hhray.errors import ConfigError, EngineFault
from hhray.geometry import ClipGeometry, LatentGrid, Ratio, Resolution
from hhray.memory_parts import GPUS, Component, Demand, Gpu, Place, Stage
from hhray.memory_plan import plan_memory
from hhray.memory_size import Format
from hhray.model_size import preset
from hhray.served_model import DEFAULT_LADDER, ServedModel
from hhray.video_only import spared_bytes, video_only_plan, video_only_ranks
from tiny_release import write_tiny_release

CPU = torch.device("cpu")
FULL, PICO = preset("15b"), preset("pico")
TIERS = (Resolution.P256, Resolution.P1080)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_release(
        tmp_path_factory.mktemp("release") / "weights", size=PICO, parts=("distill", "1080p_sr"), seed=4
    )


def streams(num_text_tokens, max_seconds=15):
    for seconds in range(3, max_seconds + 1):
        for tier in TIERS:
            for ratio in Ratio:
                clip = ClipGeometry(tier, ratio, seconds)
                yield TokenStream((ItemShape(clip.run_grid, clip.audio_latents, num_text_tokens),))


def holds_others(stream, rank, num_ranks):
    return any(run.modality is not Modality.VIDEO for run in stream.slice_for(rank, num_ranks))


@pytest.mark.parametrize(("num_ranks", "expected"), [(1, 0), (2, 1), (4, 2), (8, 5)])
def test_the_ranks_that_never_hold_sound_or_text(num_ranks, expected):
    assert video_only_ranks(Demand(FULL, TIERS, 15, num_ranks)) == expected
    for stream in streams(640):
        assert not any(holds_others(stream, rank, num_ranks) for rank in range(expected))
    assert any(holds_others(stream, expected, num_ranks) for stream in streams(640))


@pytest.mark.parametrize("num_ranks", [2, 4, 8])
def test_sound_and_text_lie_on_as_few_ranks_as_even_slices_allow(num_ranks):
    for stream in streams(320):
        sizes = stream.slice_sizes(num_ranks)
        others = stream.num_tokens - stream.items[0].grid.num_tokens
        holding = sum(holds_others(stream, rank, num_ranks) for rank in range(num_ranks))
        assert max(sizes) - min(sizes) <= 1
        assert holding == -(-others // min(sizes))


@pytest.mark.parametrize("weights", [Format.BF16, Format.INT8])
def test_what_is_spared_is_what_the_network_loses(weights):
    whole, spared = build_meta_model(FULL, Format.BF16), build_meta_model(FULL, Format.BF16)
    keep_video_experts(spared)
    item = Component("base", Stage.BASE, weights, Place.RESIDENT, 0, 0)
    lost = 0
    for before, after in zip(whole.modules(), spared.modules(), strict=True):
        if isinstance(before, (ExpertLinear, ExpertNorm)):
            numbers = before.weight.numel() - after.weight.numel()
            rows = len(before.weight) - len(after.weight)
            eight_bit = weights is Format.INT8 and isinstance(before, ExpertLinear)
            lost += numbers + 4 * rows if eight_bit else numbers * before.weight.element_size()
    assert spared_bytes(FULL, item) == lost
    # of the 4.37e9 weights of the specification
    assert lost / 1e9 == pytest.approx({Format.BF16: 8.73, Format.INT8: 4.37}[weights], abs=0.01)


def test_the_plan_of_such_a_rank_is_the_others_with_more_room():
    demand = Demand(FULL, TIERS, 5, 8)
    whole = plan_memory(GPUS["h200"], demand)
    less = video_only_plan(whole, FULL)
    spared = spared_bytes(FULL, whole.components[1])
    assert [(item.format, item.place) for item in less.components] == [
        (item.format, item.place) for item in whole.components
    ]
    for stage in whole.stage_bytes:  # base and super-resolution, both resident
        assert whole.stage_bytes[stage] - less.stage_bytes[stage] == 2 * spared
        assert less.room_bytes[stage] - whole.room_bytes[stage] == 2 * spared


@pytest.mark.parametrize("gpu", [None, Gpu(80, True), Gpu(40, True), Gpu(40, False)])
def test_the_video_experts_that_stay_are_those_of_the_release(folder, gpu):
    """In float32, bfloat16 and 8 bits."""
    served = served_model(folder, "", DEFAULT_LADDER)
    plan = gpu and plan_memory(gpu, Demand(FULL, TIERS, 15, 2))
    options = {"ranks": 2, "tiers": TIERS, "max_seconds": 15, "plan": plan}
    whole, spared = (Components(served, folder, CPU, **options, video_only=less) for less in (False, True))
    for made in (whole, spared):
        made.load(0)
    modules = (made.transformer(Stage.BASE).modules() for made in (whole, spared))
    pairs = [pair for pair in zip(*modules, strict=True) if isinstance(pair[0], (ExpertLinear, ExpertNorm))]
    assert {before.experts for before, _ in pairs} == {1, 3}
    for before, after in pairs:
        assert after.experts == 1
        if isinstance(before, ExpertLinear):
            assert torch.equal(after.expert(0), before.expert(0))
        else:
            assert torch.equal(after.weight, before.weight.chunk(before.experts)[0])
    parts = {item.name: item.num_bytes for item in spared.plan.components}
    for item in whole.plan.components:
        assert item.num_bytes - parts[item.name] == spared_bytes(PICO, item)


def test_a_rank_that_holds_text_keeps_all_experts(folder):
    made = Components(
        served_model(folder, "", DEFAULT_LADDER), folder, CPU, ranks=2, tiers=TIERS, max_seconds=3, video_only=True
    )
    made.load(1)
    assert made.transformer(Stage.BASE).block.layers[0].attention.linear_qkv.experts == 3


def test_a_network_with_video_experts_refuses_text():
    model = AudioVideoTransformer(PICO, torch.float32)
    fill_random(model, 1)
    whole = Denoiser(model, DistilledSampler())
    clip = ClipInput(LatentGrid(2, 4, 4), 5, torch.zeros(2, PICO.text_channels), NoiseSource(1, CPU))
    whole.velocities(whole.start([clip]))
    keep_video_experts(model)
    with pytest.raises(EngineFault, match="kept its video experts only"):
        whole.velocities(whole.start([clip]))


def test_a_checkpoint_that_reads_references_is_refused():
    served = ServedModel(PICO, Capabilities(r2v=True))
    with pytest.raises(ConfigError, match=r"set engine\.video_only_ranks to false"):
        Components(served, None, CPU, ranks=2, tiers=TIERS, max_seconds=3, video_only=True)
