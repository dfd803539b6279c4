"""The inspect verbs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import pytest

from engine.verbs import VERBS


def run(*words):
    (verb,) = (verb for verb in VERBS if verb.name == "inspect-model")
    parser = argparse.ArgumentParser()
    verb.configure(parser)
    return verb.run(parser.parse_args(words))


def test_inspect_model_counts_the_full_network(capsys):
    assert run("--preset", "15b", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == {
        "preset": "15b",
        "tensors": 331,
        "parameters": 15_299_419_136,
        "weights_per_token": 10_912_645_120,
        "bytes": {"float32": 86_339_648, "bfloat16": 30_555_668_480},
    }


def test_inspect_model_prints_lines_for_people(capsys):
    assert run("--preset", "pico") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "tensors            51",
        "parameters         1,848,480",
        "weights per token  986,112",
    ]


def test_an_unknown_preset_is_a_usage_error(capsys):
    with pytest.raises(SystemExit):
        run("--preset", "huge")
    assert "invalid choice: 'huge'" in capsys.readouterr().err


def test_defining_the_verbs_does_not_load_torch():
    code = "import sys, engine.verbs, engine.messages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
