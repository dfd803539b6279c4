"""What a rank loads lies where the memory plan says, in the formats it says, and computes the same there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.components import Components
from engine.denoiser import ClipInput
from engine.local_attention import LOCAL_1080P
from engine.machine_memory import require_host_memory
from engine.model.coordinates import CoordinateStyle
from engine.model.layers import EightBitExpertLinear
from engine.pipeline import Pipeline
from engine.placement import Offloaded, Resident
from engine.release import served_model
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.samplers.unipc import UniPCSampler
from engine.stages import local_rule, stage_sampler
from engine.weights import build_model
from hhray.errors import ConfigError, EngineFault
from hhray.geometry import LatentGrid, Resolution
from hhray.memory_parts import Demand, Gpu, Place, Stage
from hhray.memory_plan import plan_memory
from hhray.memory_size import Format
from hhray.model_size import preset
from hhray.served_model import ServedModel
from tiny_release import random_state, write_tiny_release

CPU = torch.device("cpu")
PICO, FULL = preset("pico"), preset("15b")
TIERS = (Resolution.P256, Resolution.P720)
WISHES = {Resolution.P720: "540p_sr"}
DTYPES = {
    Format.FP32: torch.float32,
    Format.BF16: torch.bfloat16,
    Format.FP8: torch.float8_e4m3fn,
    Format.INT8: torch.int8,
}
GRID = LatentGrid(2, 4, 4)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These tensors are small: on a busy machine several threads wait for each other longer than one computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    pytest.importorskip("diffusers")
    return write_tiny_release(tmp_path_factory.mktemp("releases") / "pico", codecs="library")


def full_plan(gpu, decoder="turbo"):
    """What a card holds of the published network: obeyed below by a small one."""
    return plan_memory(gpu, Demand(FULL, TIERS, 3, ladder={Resolution.P720: Stage.SR_540P}, decoder=decoder))


def loaded(folder, plan=None, rank=0, decoder="turbo"):
    served = served_model(folder, "pico", WISHES, decoder=decoder)
    made = Components(served, folder, CPU, tiers=TIERS, max_seconds=3, decoder=decoder, plan=plan)
    made.load(rank)
    return made


def format_of(module: nn.Module) -> Format:
    largest = max(module.parameters(), key=torch.Tensor.numel)
    return next(name for name, dtype in DTYPES.items() if largest.dtype is dtype)


def velocities(denoiser, text=None):
    text = torch.randn(5, 32, generator=torch.Generator().manual_seed(1)) if text is None else text
    batch = denoiser.start([ClipInput(GRID, GRID.decoded_frames, text, NoiseSource(3, CPU))])
    return denoiser.velocities(batch)[0]


@pytest.mark.parametrize("gpu", [Gpu(141, True), Gpu(80, True), Gpu(80, False), Gpu(40, True), Gpu(24, True), None])
@pytest.mark.parametrize("decoder", ["turbo", "wan"])
def test_placements_and_formats_are_those_of_the_plan(release, gpu, decoder):
    plan = full_plan(gpu, decoder) if gpu else None
    made = loaded(release, plan, decoder=decoder)
    found = {name: (format_of(part.module), part.place) for name, part in made.placements.items()}
    assert found == {item.name: (item.format, item.place) for item in made.plan.components}
    if gpu is None:
        assert {place for _, place in found.values()} == {Place.HOST}
    else:
        assert made.plan is plan


def test_plans_of_these_cards_place_differently():
    places = [{item.place for item in full_plan(Gpu(gb, True)).components} for gb in (141, 80, 24)]
    assert places == [{Place.RESIDENT}, {Place.RESIDENT, Place.OFFLOADED}, {Place.SWAPPED}]


def test_the_plan_comes_before_the_weights(tmp_path):
    served = ServedModel(FULL)
    with pytest.raises(ConfigError, match="the 15b model needs an NVIDIA GPU"):
        Components(served, None, CPU, tiers=TIERS, max_seconds=5)


def test_swapped_components_take_turns_and_compute_the_same(release):
    made, stay = loaded(release, full_plan(Gpu(24, True))), loaded(release, full_plan(Gpu(24, True)))
    for name, part in stay.placements.items():
        stay.placements[name] = Resident(part.module, CPU)

    def present():
        return [name for name, part in made.placements.items() if part.present]

    assert present() == []
    with torch.inference_mode():
        features = made.text.encode("a fox runs")
        assert present() == ["text encoder"]
        assert torch.equal(features, stay.text.encode("a fox runs"))
        for stage in (Stage.BASE, Stage.SR_540P):
            results = [velocities(of.denoiser(stage, 0, 1), features) for of in (made, stay)]
            assert present() == [stage]
            assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
        latent = torch.randn(48, 2, 2, 2, generator=torch.Generator().manual_seed(2))
        assert torch.equal(made.video_decoder.decode(latent), stay.video_decoder.decode(latent))
        assert present() == ["Turbo VAE"]
        assert torch.equal(made.sound.decode(latent[0, 0].repeat(32, 1)), stay.sound.decode(latent[0, 0].repeat(32, 1)))
        assert present() == ["audio VAE"]
        picture = torch.zeros(3, 32, 32)
        assert torch.equal(made.video_encoder.encode(picture), stay.video_encoder.encode(picture))
        assert present() == ["video VAE"]


def test_consecutive_steps_of_a_swapped_network_copy_nothing(release):
    made = loaded(release, full_plan(Gpu(24, True)))

    def on_device():
        return made.transformer(Stage.BASE).block.layers[0].mlp.up_gate_proj.values.data

    first = on_device()  # kept, so that no other tensor can get its address
    assert on_device().data_ptr() == first.data_ptr()
    made.transformer(Stage.SR_540P)
    assert on_device().data_ptr() != first.data_ptr()


@pytest.mark.parametrize("card", [Gpu(24, True), Gpu(24, False)], ids=["float8", "int8"])
def test_layers_of_super_resolution_that_come_one_by_one_compute_the_same(release, card):
    tiers = (Resolution.P256, Resolution.P1080)
    demand = Demand(FULL, tiers, 10, ladder={Resolution.P1080: Stage.SR_540P})
    plan = plan_memory(card, demand)
    assert {item.name: item.place for item in plan.components}[Stage.SR_540P] is Place.OFFLOADED
    made, stay = loaded(release, plan), loaded(release, plan)
    fine = made.placements[Stage.SR_540P]
    for layer in stay.transformer(Stage.SR_540P).block.layers:
        layer._forward_pre_hooks.clear()
        layer._forward_hooks.clear()
    assert isinstance(fine, Offloaded)
    assert fine.present == []
    with torch.inference_mode():
        made.transformer(Stage.BASE)
        for _ in range(2):
            pair = [velocities(of.denoiser(Stage.SR_540P, 0, 1)) for of in (made, stay)]
            assert all(torch.equal(*one) for one in zip(*pair, strict=True))
            assert fine.present == [0]  # for the next step
            assert not made.placements[Stage.BASE].present
        assert made.video_decoder.decode(torch.zeros(48, 2, 2, 2)).shape[0] == 5
        assert fine.present == []


@pytest.mark.parametrize("precision", [None, Format.BF16, Format.FP8, Format.INT8])
def test_a_wished_precision_holds_with_random_weights_and_with_files(tmp_path, precision):
    folder = write_tiny_release(tmp_path / "w", parts=("distill",))
    for place in (None, folder):
        made = Components(ServedModel(PICO), place, CPU, tiers=TIERS, max_seconds=3, precision=precision)
        made.load(0)
        assert format_of(made.transformer(Stage.BASE)) is (precision or Format.FP32)
        assert made.arithmetic.startswith(
            {"fp8": "float8", "int8": "int8", "bf16": "bfloat16"}.get(precision, "float32")
        )
    with torch.inference_mode():
        assert all(one.isfinite().all() for one in velocities(made.denoiser(Stage.BASE, 0, 1)))


def test_another_word_for_a_precision_is_refused():
    with pytest.raises(ConfigError, match="precision 'fp16' is not known; choose one of: auto, bf16, fp8, int8"):
        Pipeline(ServedModel(PICO), precision="fp16")


@pytest.mark.parametrize(("layout", "precision"), [("official", Format.FP8), ("fp8", Format.INT8)])
def test_a_device_without_scaled_products_expands_float8_weights(tmp_path, monkeypatch, layout, precision):
    monkeypatch.setattr("engine.components.why_not_scaled", lambda device: "no such units")
    folder = write_tiny_release(tmp_path / "w", parts=("distill",), layout=layout)
    made = Components(ServedModel(PICO), folder, CPU, tiers=TIERS, max_seconds=3, precision=precision)
    made.load(0)
    assert made.arithmetic == "float8 weights, expanded: no such units"
    linears = [part for part in made.transformer(Stage.BASE).modules() if isinstance(part, EightBitExpertLinear)]
    assert {type(part) for part in linears} == {EightBitExpertLinear}


def test_a_host_too_small_for_the_plan_is_refused_before_anything_is_loaded():
    plan = full_plan(Gpu(24, True))
    require_host_memory(plan, 1, plan.host_bytes)
    with pytest.raises(ConfigError, match=r"for each of 2 rank\(s\), .* GB in all, and this machine has 64\.0"):
        require_host_memory(plan, 2, 64 * 10**9)


def test_an_offloaded_text_encoder_gives_the_same_features(release):
    plan = full_plan(Gpu(80, True))
    made, stay = loaded(release, plan), loaded(release)
    assert isinstance(made.placements["text encoder"], Offloaded)
    assert torch.equal(made.text.encode("a red ball"), stay.text.encode("a red ball"))
    assert made.placements["text encoder"].present == []


def test_a_text_encoder_in_8_bits_gives_nearly_the_same_features(release):
    exact = loaded(release).text.encode("a red ball").flatten()
    for gpu, kind in ((Gpu(48, True), Format.FP8), (Gpu(48, False), Format.INT8)):
        made = loaded(release, full_plan(gpu))
        part, module = made.text, made.placements["text encoder"].module
        assert {format_of(layer) for layer in module.modules() if "EightBit" in type(layer).__name__} == {kind}
        assert torch.cosine_similarity(part.encode("a red ball").flatten(), exact, dim=0) > 0.97


def test_other_ranks_show_no_bars_and_decode_too(release, capfd):
    capfd.readouterr()
    made = loaded(release, full_plan(Gpu(24, True)), rank=1)
    assert capfd.readouterr().err == "", "other ranks show no bars"
    assert made.text.encode("a fox").shape == (4, 32)
    assert made.video_decoder is not None
    assert loaded(release, rank=1, decoder="wan").video_encoder is not None


def test_stand_ins_serve_where_there_are_no_components(tmp_path):
    folder = write_tiny_release(tmp_path / "w", parts=("distill",))
    made = loaded(folder)
    assert set(made.placements) == {"base"}
    assert made.text.encode("a fox").shape == (4, 32)
    assert made.video_decoder.decode(torch.zeros(48, 2, 2, 2)).shape == (5, 32, 32, 3)
    assert made.sound.decode(torch.zeros(64, 2)).shape == (2, 4096)
    assert made.video_encoder.encode(torch.zeros(3, 32, 32)).shape == (48, 1, 2, 2)


def test_without_a_folder_the_network_is_the_presets_own(tmp_path):
    made = Components(ServedModel(PICO), None, CPU, tiers=TIERS, max_seconds=3)
    with pytest.raises(EngineFault, match="it has loaded nothing"):
        made.transformer(Stage.BASE)
    with torch.inference_mode():
        made.load(0)
    own = build_model(PICO, CPU).state_dict()
    found = made.transformer(Stage.BASE).state_dict()
    assert own.keys() == found.keys()
    assert all(torch.equal(own[name], found[name]) for name in own)


def test_a_text_encoder_of_other_channels_is_refused(tmp_path):
    pytest.importorskip("transformers")
    from tiny_release import write_text_encoder

    folder = write_tiny_release(tmp_path / "w", parts=("distill",))
    write_text_encoder(folder / "text", 16)
    (folder / "hhray.json").write_text('{"codecs": {"video": "averaging", "sound": "additive"}}')
    with pytest.raises(ConfigError, match="gives 16 channels, and the network takes 32"):
        loaded(folder)


def test_local_layers_are_those_of_the_1080p_network_only():
    assert local_rule(Stage.SR_1080P, 40) == LOCAL_1080P
    assert local_rule(Stage.SR_1080P, 5).layers == frozenset(range(5))
    assert local_rule(Stage.BASE, 40) is local_rule(Stage.SR_540P, 40) is None


def test_a_denoiser_has_the_recipe_of_its_stage(release):
    made = loaded(release)
    base, fine = made.denoiser(Stage.BASE, 0, 1), made.denoiser(Stage.SR_540P, 1, 2)
    assert (type(base.sampler), base.sampler.num_steps, base.style) == (DistilledSampler, 8, CoordinateStyle.V2)
    assert (type(fine.sampler), fine.sampler.num_steps, fine.style) == (UniPCSampler, 5, CoordinateStyle.V1)
    assert (fine.rank, fine.world_size, fine.local, fine.sampler.guidance(0)) == (1, 2, None, None)
    assert base.model is not fine.model
    guided = stage_sampler(Stage.BASE, ServedModel(PICO, guided=True))
    assert (guided.num_steps, guided.guidance(0), guided.guidance(31)) == (32, (5.0, 5.0), (2.0, 5.0))


def test_the_networks_of_both_stages_are_the_files_own(release):
    made = loaded(release)
    for index, stage in enumerate((Stage.BASE, Stage.SR_540P)):
        state, expected = made.transformer(stage).state_dict(), random_state(PICO, index)
        assert all(torch.equal(state[name], expected[name]) for name in expected)
