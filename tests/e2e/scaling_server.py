"""A server whose number of engines follows the work, on a Ray that believes in eight GPUs; it can be updated while it
runs, as `serve deploy` of a changed file would do it.

As a program: `python scaling_server.py CONFIG` serves until its input ends, and rolls CONFIG out anew for every line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from server_process import ServerProcess

# Ray places on GPUs that this variable says there are; nothing computes on them.
FAKE_GPUS = {"RAY_OVERRIDE_RESOURCES": json.dumps({"GPU": 8})}
# Short windows: what is watched is whether clips live through the changes, not how rarely they come.
WINDOWS = {"up_window_seconds": 1, "down_window_seconds": 2, "idle_grace_seconds": 3, "cold_start_seconds": 0}


class ScalingServer(ServerProcess):
    """Engines of one rank, each of which reserves a GPU."""

    def __init__(self, home: Path, autoscaling: dict[str, Any], **engine: Any) -> None:
        super().__init__(home, **{"ranks": 1, "gpus_per_rank": 1, **engine})
        self.change(autoscaling={**WINDOWS, "interval_seconds": 0.5, **autoscaling})

    def change(self, **groups: Any) -> None:
        """Rewrite groups of the settings in the file."""
        values = json.loads(self.config.read_text(encoding="utf-8"))
        self.config.write_text(json.dumps(values | groups), encoding="utf-8")

    def start(self, as_json: bool = True) -> None:
        assert as_json
        with (self.home / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(self.config)],
                env={**os.environ, **FAKE_GPUS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._expect("serving")

    def begin_update(self) -> None:
        """Let the running server roll out what the file says now; `end_update` waits for it."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write("update\n")
        self.process.stdin.flush()

    def end_update(self) -> None:
        self._expect("updated")

    def stop(self, timeout: float = 90.0) -> int:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(timeout=timeout)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.url}/healthz", timeout=30).json()
        return answer

    def _expect(self, word: str) -> None:
        """Read what the program says until it says this; libraries may speak in between."""
        assert self.process is not None
        assert self.process.stdout is not None
        lines = []
        while line := self.process.stdout.readline():
            lines.append(line.strip())
            if lines[-1] == word:
                return
        raise AssertionError(f"the server ended and said {lines}: {self.log_tail()}")


def serve(config: Path) -> None:
    from deployment.local_server import APP_NAME, LocalServer
    from hhray.settings import load_settings

    with LocalServer(load_settings(config)):
        from deployment.rollout import roll_out  # with Ray, whose environment the server has set by now

        print("serving", flush=True)
        for _ in sys.stdin:
            roll_out(load_settings(config), APP_NAME)
            print("updated", flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
