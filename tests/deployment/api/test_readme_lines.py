"""The lines of the README are run as they stand there, but for the address and the names they leave open."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "README.md"
T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "a horse"}, "parameters": {"duration": 3}}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_of_the_readme_work(live):
    (lines,) = [block for block in re.findall(r"```bash\n(.*?)```", README.read_text(), re.S) if "curl" in block]
    task_id = live.create_id(T2V)
    script = lines.replace("BASE=http://127.0.0.1:8000", f"BASE={live.url}").replace("curl -sS", "echo; curl -sS")
    done = subprocess.run(
        ["bash", "-euc", script], env={"PATH": "/usr/bin:/bin", "KEY": "any", "TASK": task_id},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    created, query, listed, cancelled = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    assert live.store.get(created["output"]["task_id"]).request.prompt == "a horse at dawn"
    assert query["output"]["task_id"] == task_id
    assert (listed["total"], set(cancelled)) == (0, {"request_id"})
    assert live.get(task_id)["output"]["task_status"] == "CANCELED"
