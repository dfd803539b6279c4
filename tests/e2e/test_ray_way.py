"""The Ray way: `serve run` of the config file, on a Ray that `serve run` starts itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deployment.local_server import free_port
from hhray.client import Client
from server_process import MODEL, wait_for

CONFIG = Path(__file__).parents[2] / "deployment" / "local.yaml"


@pytest.fixture
def ray_dir() -> Iterator[str]:
    """A short path: Ray's socket files are limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="hhr") as path:
        yield path


@pytest.mark.proof
def test_serve_run_of_the_config_file_makes_a_clip(
    tmp_path: Path, ray_dir: str, keep_proof: Callable[[str, dict[str, Any]], None]
) -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    port = free_port()
    config["http_options"]["port"] = port
    arguments = config["applications"][0]["args"]
    arguments["http"]["port"] = port
    arguments["engine"]["preset"] = MODEL
    arguments["data_dir"] = str(tmp_path / "data")
    file = tmp_path / "local.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    environment = {
        **os.environ,
        "RAY_TMPDIR": ray_dir,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    log = tmp_path / "log"
    serve = Path(sys.executable).parent / "serve"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(serve), "run", str(file)], env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            wait_for(lambda: process.poll() is not None or _warm(port), 150, "the application answers")
            assert process.poll() is None, log.read_text()[-3000:]
            with Client(f"http://127.0.0.1:{port}") as client:
                task_id = client.submit("happyhorse-1.0-t2v", "a horse", resolution="256P", duration=3)
                view = client.wait(task_id, timeout_seconds=120)
                assert view.attempt == 1
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    keep_proof("serve_run", {"command": f"serve run deployment/local.yaml (preset {MODEL})", "stages": view.stages})


def _warm(port: int) -> bool:
    try:
        return bool(httpx.get(f"http://127.0.0.1:{port}/healthz").json()["warm"])
    except (httpx.HTTPError, ValueError, KeyError):
        return False
