"""`python -m loadtests.simulator`: a table or JSON, and files to keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from loadtests.simulator.__main__ import main

SCENARIO = """
costs: h100_published
mix: {256P: 0.7, 480P: 0.2, 720P: 0.05, 1080P: 0.05}
durations: [3, 5]
loads: [0.5]
seeds: [1]
minutes: 2
policies: [scheduler, "fifo, degree 1"]
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)


def test_it_prints_a_table_and_writes_json_table_and_plot(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--scenario", scenario, "--to", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["scheduler", "fifo, degree 1"]
    rows = json.loads((tmp_path / "out" / "small.json").read_text(encoding="utf-8"))["rows"]
    assert rows[0]["clips"] == rows[1]["clips"] > 20
    assert rows[0]["decisions"] > rows[0]["clips"]
    with Image.open(tmp_path / "out" / "small_0.5.png") as image:
        assert image.width == 900
        assert len(image.getcolors(maxcolors=10**6) or []) > 3


def test_json_is_one_object_on_stdout(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenario", scenario, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["policy"] == "scheduler"


def test_a_scenario_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenario", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
