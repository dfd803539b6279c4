"""Proof: a server whose weights are damaged says which file and why, in one line, and leaves nothing running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from deployment.local_server import free_port
from hhray.model_size import preset
from tiny_release import write_tiny_release


@pytest.mark.proof
def test_damaged_weights_end_the_start_with_their_cause(
    tmp_path: Path, keep_proof: Callable[[str, dict[str, Any]], None]
) -> None:
    write_tiny_release(tmp_path / "weights", size=preset("pico"), parts=("distill",), seed=1)
    path = sorted((tmp_path / "weights/distill").glob("*.safetensors"))[0]
    tensors = load_file(path)
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] * float("nan")}, path)
    config = {"data_dir": str(tmp_path / "data"), "engine": {"checkpoint": str(tmp_path / "weights")}}
    (tmp_path / "hhray.yaml").write_text(json.dumps(config))  # JSON is YAML
    command = [sys.executable, "-m", "hhray", "serve", "--config", str(tmp_path / "hhray.yaml")]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--port", str(free_port())], env=os.environ, capture_output=True, text=True, timeout=150, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert last.startswith("hhray: the server did not start: ")
    assert f"{path.name} is corrupt: {name} holds values that are not finite" in last
    keep_proof("bad_weights", {"seconds": round(time.monotonic() - began, 1), "exit_code": done.returncode})
