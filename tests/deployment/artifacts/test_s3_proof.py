"""Proofs: the real server over an S3-compatible store, and what putting a file costs there and in a directory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from s3_server import KEY_ID, SECRET_KEY, S3Server
from server_process import ServerProcess

MIB = 1 << 20
Keep = Callable[[str, dict[str, Any]], None]

# Puts a file and reads it back, in a process of its own; says the seconds and by how much its own memory grew at most.
PUT = """
import json, sys, threading, time, uuid
from pathlib import Path
from deployment.artifacts import clip_key, open_artifacts
from hhray.settings import Settings

def anonymous_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

settings, path = Settings(**json.loads(sys.argv[1])), Path(sys.argv[2])
artifacts = open_artifacts(settings, b"secret")
artifacts.put_bytes(clip_key(str(uuid.uuid4()), 1), b"warm")
before, peak, ended = anonymous_bytes(), [0], threading.Event()

def watch():
    while not ended.wait(0.005):
        peak[0] = max(peak[0], anonymous_bytes())

watcher = threading.Thread(target=watch)
watcher.start()
seconds = []
for _ in range(5):
    key, began = clip_key(str(uuid.uuid4()), 1), time.perf_counter()
    artifacts.put_file(key, path)
    seconds.append(time.perf_counter() - began)
with artifacts.open_local(key) as copy:
    assert copy.stat().st_size == path.stat().st_size
ended.set()
watcher.join()
print(json.dumps({"seconds": seconds, "grown_bytes": peak[0] - before}))
"""


@pytest.mark.proof
def test_putting_a_file_streams_it_and_costs_so_much(tmp_path: Path, s3_server: S3Server, keep_proof: Keep) -> None:
    size = 64 * MIB
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"c" * size)
    found: dict[str, Any] = {"file_bytes": size, "what": "put and verified: fsync and read back, or read back by HTTP"}
    read_back, trusted = (s3_server.settings(tmp_path, s3={"verify": one}) for one in ("read_back", "checksum"))
    places = {"s3_read_back": read_back.to_args(), "s3_checksum": trusted.to_args()}
    for name, args in {"directory": {"data_dir": str(tmp_path)}, **places}.items():
        order = [sys.executable, "-c", PUT, json.dumps(args), str(path)]
        told = json.loads(subprocess.run(order, capture_output=True, text=True, check=True).stdout)
        seconds = statistics.median(told["seconds"])
        found[name] = {
            "median_seconds": round(seconds, 3),
            "mb_per_second": round(size / 1e6 / seconds, 1),
            "memory_grown_mb": round(told["grown_bytes"] / 1e6, 1),
        }
        assert told["grown_bytes"] < size / 2, f"{name}: the file was held in memory"
    keep_proof("artifact_speed", found)


@pytest.mark.proof
def test_a_clip_is_made_and_served_by_an_s3_store_and_no_log_holds_its_keys(
    tmp_path: Path, s3_server: S3Server, keep_proof: Keep
) -> None:
    server = ServerProcess(tmp_path, ranks=1, watchdog_floor_seconds=120.0)
    values = json.loads(server.config.read_text())
    values["store"] |= s3_server.settings(tmp_path).to_args()["store"]
    values["store"]["lease_seconds"] = 60.0
    server.config.write_text(json.dumps(values))
    server.start()
    try:
        created = httpx.post(
            f"{server.url}/api/v1/services/aigc/video-generation/video-synthesis",
            json={
                "model": "happyhorse-1.0-t2v",
                "input": {"prompt": "a bell"},
                "parameters": {"resolution": "256P", "duration": 3, "ratio": "1:1"},
            },
            headers={"x-dashscope-async": "enable", "authorization": "Bearer any"},
            trust_env=False,
        )
        task_id, began = created.json()["output"]["task_id"], time.monotonic()
        output: dict[str, Any] = {}
        while output.get("task_status") not in ("SUCCEEDED", "FAILED"):
            assert time.monotonic() - began < 300, output
            time.sleep(0.5)
            output = httpx.get(f"{server.url}/api/v1/tasks/{task_id}", trust_env=False).json()["output"]
        assert output["task_status"] == "SUCCEEDED", (output, server.log_tail())
        url = output["video_url"]
        assert url.startswith(s3_server.url)
        clip = httpx.get(url, trust_env=False)
        assert clip.content[4:8] == b"ftyp"
        assert urlsplit(url).path.endswith(f"/clips/t-local/{task_id}/1.mp4")
        kept = {"stages": output["stages"], "clip_bytes": len(clip.content)}
    finally:
        code = server.stop()
    logs = [path for path in [*tmp_path.rglob("*.log"), *server.ray_dir.rglob("*.log")] if path.is_file()]
    told = "".join(path.read_text(encoding="utf-8", errors="replace") for path in logs)
    assert SECRET_KEY not in told
    assert KEY_ID not in told
    assert code == 0
    assert not (tmp_path / "artifacts").exists()
    keep_proof("s3_served", {**kept, "log_files_searched_for_keys": len(logs)})
