"""`hhray demo` as a user runs it, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import psutil
import pytest

from deployment.local_server import TAG_VARIABLE
from engine.embedded.scoring.clip_file import watch
from engine.embedded.scoring.judge import look
from engine.embedded.world.scene import Motion
from hhray.tasks import Stage
from server_process import MODEL, wait_for

COMMAND = [sys.executable, "-m", "hhray", "demo", "--resolution", "256P", "--duration", "3"]


def tagged() -> set[int]:
    """Every process of any hhray server on this machine."""
    pids = set()
    for process in psutil.process_iter():
        try:
            if TAG_VARIABLE in process.environ():
                pids.add(process.pid)
        except (psutil.Error, OSError):
            continue
    return pids


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "HHRAY_ENGINE__PRESET": MODEL}


def test_the_demo_makes_a_clip_tells_about_it_and_leaves_no_process(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    before = tagged()
    out = tmp_path / "clip.mp4"
    command = [*COMMAND, "--ratio", "1:1", "--ranks", "1", "--out", str(out), "--json"]
    result = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["clip"] == str(out)
    assert set(told["stages"]) == set(Stage)
    assert told["seconds_per_clip"] == pytest.approx(sum(told["stages"].values()), abs=0.01)
    with av.open(str(out)) as container:
        assert container.duration == 3_000_000
        assert container.streams.video[0].frames == 75
    (ball,) = look(watch(out)).things[:1]
    assert (ball.colour, ball.shape, ball.motion) == ("red", "ball", Motion.RIGHT)  # what the demo's own prompt says
    assert tagged() - before == set()


def test_an_interrupted_demo_leaves_no_process_and_no_file(tmp_path: Path, environment: dict[str, str]) -> None:
    before = tagged()
    with (tmp_path / "log").open("w") as log:
        demo = subprocess.Popen(
            [*COMMAND, "--out", str(tmp_path / "clip.mp4")],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        wait_for(lambda: len(tagged() - before) >= 8, 60, "Ray and some replicas have started")
        time.sleep(1)
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
        assert demo.wait(60) == 130, (tmp_path / "log").read_text()[-3000:]
    assert tagged() - before == set()
    assert not (tmp_path / "clip.mp4").exists()


def test_a_wrong_option_is_refused_before_anything_starts(tmp_path: Path, environment: dict[str, str]) -> None:
    began = time.monotonic()
    result = subprocess.run(
        [*COMMAND, "--ratio", "2:1"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "16:9" in result.stderr
    assert time.monotonic() - began < 10
