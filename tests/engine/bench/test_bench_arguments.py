"""Options are refused in a sentence before anything is built; sizes become the passes the engine would make."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.bench.__main__ import main
from engine.bench.arguments import checked, command_line, parser
from engine.bench.workload import pixels, workload
from hhray.errors import ConfigError
from hhray.memory_parts import Stage


def options(*argv, cuda_devices=0):
    return checked(parser().parse_args(argv), cuda_devices)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--duration", "2"], "3 to 15 seconds"),
        (["--size", "100x64"], "multiples of 32"),
        (["--size", "64"], "WIDTHxHEIGHT"),
        (["--size", "0x64"], "WIDTHxHEIGHT"),
        (["--steps", "0"], "--steps 0: give 1 or more"),
        (["--ranks", "0"], "--ranks 0: give 1 or more"),
        (["--batch", "0"], "--batch 0: give 1 or more"),
        (["--text-tokens", "1"], "--text-tokens 1: give 2 or more"),
        (["--link-gbs", "0"], "more than 0"),
        (["--link-gbs", "nan"], "more than 0"),
        (["--device", "cuda"], "there are 0 here"),
        (["--clock", "cpu", "--ranks", "2"], "for one rank on a CPU"),
        (["--preset", "15b"], "--dry"),
    ],
)
def test_a_wrong_option_is_refused_in_a_sentence(argv, reason):
    with pytest.raises(ConfigError) as caught:
        options(*argv)
    assert reason in caught.value.message


def test_more_ranks_than_gpus_are_refused():
    assert options("--ranks", "2", cuda_devices=2).device == "cuda"
    with pytest.raises(ConfigError, match="there are 2 here"):
        options("--ranks", "4", cuda_devices=2)


def test_the_full_network_runs_on_a_cpu_only_when_that_is_asked_for():
    assert options("--preset", "15b", "--device", "cpu").device == "cpu"
    assert options("--preset", "15b", cuda_devices=1).device == "cuda"


def test_the_compiled_way_is_measured_unless_the_plain_one_is_asked_for_alone():
    assert options("--preset", "medium").compiled
    assert options("--against", "plain").compiled
    assert not options("--against", "none").compiled


def test_the_command_is_kept_without_the_folders_of_this_machine():
    given = ["--preset", "pico", "--to", "here", "--kernels", "there", "--json"]
    assert command_line(given, Path("here"), "there") == "python -m engine.bench --preset pico --json"
    assert command_line(["--preset", "pico"], None) == "python -m engine.bench --preset pico"


def test_the_command_ends_with_two_and_the_sentence_on_stderr(capsys):
    assert main(["--duration", "99"]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err == "engine.bench: --duration 99: give 3 to 15 seconds\n"


def test_a_file_in_the_place_of_the_folder_is_refused_before_measuring(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--preset", "15b", "--dry", "--to", str(tmp_path / "file")]) == 2
    assert "cannot be made one" in capsys.readouterr().err


def stages(*argv):
    work = workload(options("--preset", *argv, cuda_devices=1))
    return [(one.stage, str(pixels(one.grid)), one.num_steps) for one in work.passes]


def test_a_size_becomes_the_passes_of_its_tier():
    base = (Stage.BASE, "448x256", 8)
    assert stages("15b", "--tier", "1080P") == [base, (Stage.SR_1080P, "1920x1088", 5)]
    assert stages("15b", "--size", "1920x1088") == [base, (Stage.SR_1080P, "1920x1088", 5)]
    assert stages("15b", "--size", "896x512") == [base, (Stage.SR_540P, "896x512", 5)]
    assert stages("15b", "--size", "448x256") == [base]


def test_a_network_without_super_resolution_draws_the_size_itself():
    assert stages("tiny", "--size", "896x512") == [(Stage.BASE, "896x512", 8)]
    assert stages("embedded") == [(Stage.BASE, "160x96", 8)]
    assert "no super-resolution" in workload(options("--tier", "720P")).notes[0]
