"""One real run of the smallest network, on one rank and on two, and what it leaves behind."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from statistics import median

import pytest
import torch
from PIL import Image
from rich.console import Console

from engine.attention import attend_blocks, attend_blocks_int8
from engine.bench import peak, ways
from engine.bench.__main__ import main
from engine.bench.arguments import checked, parser
from engine.bench.decoding import audio_shape, measure_decoder
from engine.bench.denoising import Rank, measure_pass, num_steps
from engine.bench.flops import step_flops
from engine.bench.gang import wait
from engine.bench.networks import Decoder, num_bytes, random_transformer
from engine.bench.profiling import ATTENTION, PRODUCTS, REST, kind_of
from engine.bench.tables import print_measured
from engine.bench.workload import Workload, workload
from engine.compiled import CompiledPointwise
from engine.denoiser import Denoiser
from engine.exchange import step_bytes
from engine.kernel_cache import VARIABLE
from hhray.cost_rows import read_rows
from hhray.errors import EngineFault
from hhray.geometry import LatentGrid
from hhray.memory_parts import Stage
from hhray.model_size import preset
from hhray.served_model import Pass, ServedModel
from hhray.step_work import ClipTokens, step_work

ARGV = ("--preset", "pico", "--size", "64x32", "--duration", "3", "--text-tokens", "5", "--steps", "2", "--ranks", "2")
PLAIN = ("--against", "none")
ALONE = Rank(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The last line of stdout, read, and the folder."""
    folder = tmp_path_factory.mktemp("bench") / "new"
    out = io.StringIO()  # pytest's own fixtures for stdout last one test
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.setitem(peak.SHAPES, "cpu", ((64, 64, 64), (128, 128, 128)))
        patch.setitem(peak.SECONDS_A_SHAPE, "cpu", 0.0)
        assert main([*ARGV, *PLAIN, "--device", "cpu", "--json", "--to", str(folder)]) == 0
    return json.loads(out.getvalue().splitlines()[-1]), folder


def test_the_json_says_what_was_measured_where_and_how(run):
    facts, _ = run
    assert facts["command"] == " ".join(["python -m engine.bench", *ARGV, *PLAIN, "--device cpu --json"])
    assert facts["machine"]["torch"] == torch.__version__
    assert facts["clip"] == {
        "size": "64x32", "duration": 3, "latent_frames": 20, "audio_latents": 77, "text_tokens": 5,
    }  # fmt: skip
    assert facts["parameters"] == sum(
        one.numel() for one in random_transformer(preset("pico"), ALONE.device).parameters()
    )
    assert facts["gemm_peak"]["tflops_per_second"] > 0
    assert [row["stage"] for row in facts["stages"]] == ["base", "video decode", "audio decode"]
    assert [row["devices"] for row in facts["projection"]["clips"]] == [1, 2, 4, 8]


def test_rates_and_shares_follow_from_seconds_and_counted_flops(run):
    facts, _ = run
    for row in (*facts["stages"], *facts["stages_on_one_rank"]):
        assert row["seconds_per_step"] == median(row["seconds_each"]) > 0
        assert row["seconds_per_clip"] == pytest.approx(row["steps_per_clip"] * row["seconds_per_step"])
        assert row["peak_memory_bytes"] > 0
        flops = sum(row["flops_per_step"].values())
        if not flops:
            assert row["tflops_per_second"] is row["share_of_gemm_peak"] is None
            continue
        assert row["tflops_per_second"] == pytest.approx(flops / row["seconds_per_step"] / 1e12)
        peak_tflops = facts["gemm_peak"]["tflops_per_second"]
        assert row["share_of_gemm_peak"] == pytest.approx(row["tflops_per_second"] / peak_tflops)


def test_two_ranks_send_the_counted_bytes_and_are_compared_with_one(run):
    facts, _ = run
    work = workload(checked(parser().parse_args(ARGV), 0))
    (one,) = work.passes
    stream = work.stream(one)
    expected = max(step_bytes(stream, work.size, rank, 2, 4) for rank in range(2))
    shared, (alone,) = facts["stages"][0], facts["stages_on_one_rank"]
    assert shared["bytes_exchanged_per_step"] == expected > 0
    assert alone["bytes_exchanged_per_step"] == 0
    assert facts["ratio"]["by_stage"]["base"] == pytest.approx(alone["seconds_per_step"] / shared["seconds_per_step"])
    assert shared["peak_memory_bytes"] < alone["peak_memory_bytes"]


def test_the_tables_show_stages_ratio_and_assumptions(run):
    facts, _ = run
    print_measured(Console(file=(out := io.StringIO()), width=200), facts)
    printed = out.getvalue()
    for row in facts["stages"]:
        assert row["stage"] in printed
    assert f"base {facts['ratio']['by_stage']['base']:.2f}" in printed
    assert all(f"- {line}" in printed for line in facts["projection"]["assumptions"])


def test_the_kernel_that_ran_is_told(run):
    facts, _ = run
    assert any("scaled_dot_product" in name for name in facts["stages"][0]["kernels"])


def test_the_folder_has_the_same_json_and_two_pictures(run):
    facts, folder = run
    name = "pico-64x32-3s-2xcpu"
    assert {path.name for path in folder.iterdir()} == {f"{name}.json", f"{name}-stages.png", f"{name}-scaling.png"}
    assert json.loads((folder / f"{name}.json").read_text()) == facts
    for picture in folder.glob("*.png"):
        with Image.open(picture) as image:
            assert image.width == 900
            assert len(image.getcolors(1 << 20)) > 2  # letters and bars


def test_super_resolution_with_local_layers_is_measured_like_the_base():
    served = ServedModel(preset("pico"))
    one = Pass(Stage.SR_1080P, LatentGrid(20, 2, 2), 5)
    work = Workload(served, (one,), 9, 4)
    assert work.rule(one)
    made = []
    networks = [random_transformer(served.size, ALONE.device)] * 2
    first, second = measure_pass(networks, work, one, ALONE, 6, lambda: made.append(1))
    assert len(first.seconds) == len(second.seconds) == 6  # more than a clip has: it begins anew
    assert len(made) == num_steps(6, 2) == 1 + 2 + 12 + 2
    assert first.tokens == 20 + 9 + 4
    known = {kind: seconds for kind, seconds in first.profile.items() if kind != REST}
    assert min(known[PRODUCTS], known[ATTENTION]) > 0
    # what remains of a timed step; nothing, if the step that was looked at met a busier machine
    assert first.profile[REST] == pytest.approx(max(first.seconds_per_step - sum(known.values()), 0.0))
    assert first.peak_bytes == second.peak_bytes > num_bytes(networks[0])


def test_a_batch_is_measured_as_one_and_a_clip_has_its_share():
    served = ServedModel(preset("pico"))
    one = Pass(Stage.BASE, LatentGrid(5, 2, 2), 8)
    work = Workload(served, (one,), 9, 4, batch=3)
    (found,) = measure_pass([random_transformer(served.size, ALONE.device)], work, one, ALONE, 2, lambda: None)
    assert (found.tokens, found.items) == (3 * (5 + 9 + 4), 3)
    assert found.seconds_per_clip == pytest.approx(8 * found.seconds_per_step / 3)
    single = step_flops(served.size, replace(work, batch=1).stream(one), None)
    assert sum(found.flops.values()) == 3 * single.total


def test_the_cost_model_reads_what_a_run_wrote(run):
    _, folder = run
    step, decode = read_rows(list(folder.glob("*.json")))
    assert step.seconds > 0
    assert step.work == step_work(preset("pico"), ClipTokens(LatentGrid(20, 2, 4), 77, 5), degree=2)
    assert decode.pixels == 64 * 32 * 77
    assert {step.device, decode.device} == {"cpu"}


def test_a_compiled_step_is_compared_with_a_plain_one_in_the_same_run(monkeypatch, capsys):
    monkeypatch.setitem(peak.SHAPES, "cpu", ((64, 64, 64),))
    monkeypatch.setitem(peak.SECONDS_A_SHAPE, "cpu", 0.0)
    monkeypatch.setattr(ways, "CompiledPointwise", partial(CompiledPointwise, "eager"))  # needs no C++ compiler
    monkeypatch.setenv(VARIABLE, "")  # put back at the end
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # for the tests that follow
    assert main([*ARGV[:-2], "--device", "cpu", "--clock", "cpu", "--dtype", "bf16", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    against, row = facts["against_plain"], facts["stages"][0]
    assert (facts["clock"], facts["dtype"], facts["gemm_peak"]["dtype"]) == ("cpu", "bfloat16", "bfloat16")
    assert against["problem"] == ""
    assert against["compile_seconds"] > 0
    plain = median(against["plain_seconds_each"]["base"])
    assert against["by_stage"] == {"base": pytest.approx(plain / row["seconds_per_step"])}
    print_measured(Console(file=(out := io.StringIO()), width=200), facts)
    assert f"plain to compiled: base {against['by_stage']['base']:.2f}" in out.getvalue()


def test_why_nothing_was_compiled_is_told(monkeypatch):
    def backend(graph, inputs):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(ways, "CompiledPointwise", partial(CompiledPointwise, backend))
    monkeypatch.setenv(VARIABLE, "")
    options = checked(parser().parse_args(ARGV), 0)
    made = ways.ways(options, ALONE.device, compared=True)
    assert len(made.networks) == 1
    assert "no C++ compiler" in made.problem


@pytest.mark.parametrize("kind", ["fp8", "int8"])
def test_linears_are_kept_in_8_bits_beside_plain_ones_that_are_not(kind):
    options = checked(parser().parse_args([*ARGV, *PLAIN, "--precision", kind]), 0)
    plain, small = (ways.ways(replace(options, precision=one), ALONE.device, compared=False) for one in ("", kind))
    assert plain.arithmetic == "float32 weights"
    assert small.arithmetic.startswith("float8" if kind == "fp8" else "int8")
    assert num_bytes(small.networks[0]) < 0.6 * num_bytes(plain.networks[0])


def test_attention_in_8_bits_is_measured_beside_plain_attention(monkeypatch):
    assert checked(parser().parse_args([*ARGV, "--attention", "int8"]), 0).attention == "int8"
    served, kernels, measured = ServedModel(preset("pico")), [], []
    one = Pass(Stage.BASE, LatentGrid(2, 2, 2), 2)

    def noted(*arguments, kernel, **options):
        kernels.append(kernel)
        return Denoiser(*arguments, kernel=kernel, **options)

    monkeypatch.setattr("engine.bench.denoising.Denoiser", noted)
    monkeypatch.setattr("engine.bench.denoising.measure_layers", lambda *_, int8: measured.append(int8))
    networks = [random_transformer(served.size, ALONE.device)] * 2
    measure_pass(networks, Workload(served, (one,), 9, 4), one, ALONE, 1, lambda: None, "int8")
    assert kernels == [attend_blocks_int8, attend_blocks]
    assert measured == [True, False]


def test_kernels_of_a_gpu_are_told_apart_by_their_names():
    names = ["sm90_xmma_gemm_bf16", "triton_per_fused__to_copy_rms_norm_0", "fmha_cutlassF_bf16", "nccl:all_to_all"]
    assert [kind_of(name) for name in names] == [PRODUCTS, REST, ATTENTION, "exchange"]


def test_a_decoder_is_counted_once_and_timed_as_often_as_asked():
    calls = []

    def decode(latent):
        calls.append(latent.shape)
        return latent.T @ latent

    decoder = Decoder("product", decode, ALONE.device, 1000)
    found = measure_decoder("audio decode", "1 s", decoder, audio_shape(25), 2, lambda: None)
    assert calls == [(64, 25)] * 3
    assert found.flops == {"counted": 2 * 25 * 64 * 25}
    assert found.peak_bytes == 1000 + 25 * 25 * 4
    assert len(found.seconds) == 2


def test_a_dry_run_counts_the_full_network_and_projects_nothing(capsys):
    assert main(["--preset", "15b", "--tier", "480P", "--dry", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["parameters"] == 15_299_419_136
    base, enlarged, decode = facts["stages"]
    assert [base["stage"], enlarged["stage"], decode["stage"]] == ["base", "540p_sr", "video decode"]
    for stage in (base, enlarged):
        sent = [row["bytes_sent_per_step"] for row in stage["by_devices"]]
        assert sent[0] == 0 < min(sent[1:])
        link = [row["link_seconds_per_step"] for row in stage["by_devices"]]
        assert link == [pytest.approx(count / 450e9) for count in sent]
    assert decode["flops_per_step"]["counted"] > 1e14
    assert "projection" not in facts


def test_tables_are_printed_without_json(capsys):
    assert main(["--preset", "pico", "--dry"]) == 0
    printed = capsys.readouterr().out
    assert "base at 448x256" in printed
    assert "link s/step" in printed


def test_the_reason_of_a_failed_rank_is_told(tmp_path):
    (tmp_path / "error1.txt").write_text("no such GPU")
    commands = ["import time; time.sleep(60)", "raise SystemExit(2)"]
    ranks = [subprocess.Popen([sys.executable, "-S", "-c", command]) for command in commands]
    try:
        with pytest.raises(EngineFault, match="rank 1 of 2 ended with code 2: no such GPU"):
            wait(ranks, tmp_path)
    finally:
        for process in ranks:
            process.kill()
            process.wait()
