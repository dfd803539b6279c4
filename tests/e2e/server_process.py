"""A real `hhray serve` in a process of its own, for the end-to-end tests."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from deployment.local_server import TAG_VARIABLE, LocalServer, free_port
from deployment.store.sqlite import SqliteStore
from hhray.client import Client
from hhray.client_view import TaskView
from hhray.settings import Settings, load_settings

START_SECONDS = 120
MODEL = "embedded"  # what a user's own commands are tried with


class ServerProcess:
    """`hhray serve` on a temporary data directory; `start` after a kill starts another on the same directory."""

    def __init__(self, home: Path, *, media: dict[str, Any] | None = None, **engine: Any) -> None:
        self.home = home
        self.config = home / "hhray.yaml"
        values = {
            "data_dir": str(home),
            "http": {"port": free_port()},
            "engine": {
                "preset": "pico",
                "ranks": 2,
                "watchdog_floor_seconds": 8.0,
                "watchdog_multiple": 8.0,
                **engine,
            },
            "store": {"lease_seconds": 8.0},
            "router": {"heartbeat_seconds": 0.25, "poll_seconds": 0.2, "reconcile_seconds": 1.0},
            "health_check_seconds": 1.0,
            "media": media or {},
            "marking": {"watermark": "never"},  # these tests look at pictures
            "drain_seconds": 30.0,
        }
        self.config.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
        self.process: subprocess.Popen[str] | None = None

    @property
    def settings(self) -> Settings:
        return load_settings(self.config)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.http.port}"

    def start(self, as_json: bool = True) -> None:
        command = [sys.executable, "-m", "hhray", "serve", "--config", str(self.config), *["--json"] * as_json]
        log = (self.home / "server.log").open("a")
        with log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the server did not start: {(self.home / 'server.log').read_text()[-3000:]}"
        if as_json:
            assert json.loads(line)["url"] == self.url
        else:
            assert line == f"hhray serves {self.settings.engine.model_name} at {self.url}\n"

    def stop(self, timeout: float = 90.0) -> int:
        """SIGTERM and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=timeout)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    @property
    def tag(self) -> str:
        return LocalServer(self.settings).tag

    def kill_everything(self, keep: int = 0) -> None:
        """kill -9 of the server and of every process of its Ray (but for `keep`)."""
        assert self.process is not None
        victims = [*self.processes(), psutil.Process(self.process.pid)]
        victims = [victim for victim in victims if victim.pid != keep]
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=10)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def processes(self) -> list[psutil.Process]:
        """Processes of this server's Ray, by the tag in their environment."""
        return [process for process in psutil.process_iter() if _environment(process).get(TAG_VARIABLE) == self.tag]

    def process_titled(self, pattern: str) -> list[psutil.Process]:
        return [p for p in self.processes() if re.search(pattern, _title(p))]

    def rank_processes(self) -> list[psutil.Process]:
        """The processes of the living gang, by rank, as the engine reports them."""
        store = self.store()
        try:
            engine = store.engines(fresh_seconds=2.0)[0]
        finally:
            store.close()
        return [psutil.Process(pid) for pid in engine.detail["rank_pids"]]

    def client(self, key: str = "") -> Client:
        return Client(self.url, key)

    def store(self) -> SqliteStore:
        return SqliteStore(self.settings.sqlite_file)

    @property
    def ray_dir(self) -> Path:
        return LocalServer(self.settings).ray_dir

    def log_tail(self) -> str:
        return (self.home / "server.log").read_text(encoding="utf-8")[-3000:]

    def engine_log(self) -> str:
        """What the engine replicas logged in this server's life."""
        logs = sorted(self.ray_dir.glob("session_latest/logs/serve/replica_*ClipEngine*.log"))
        return "\n".join(path.read_text(encoding="utf-8") for path in logs)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""  # ended a moment ago


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until `condition` gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def is_halfway(view: TaskView) -> bool:
    return view.state == "RUNNING" and 0 < view.progress < 1
