"""Processes that can be killed at once and started in milliseconds: forked from one that has imported everything.

Run as a script it reads one JSON order a line, forks, lets the child play its role, and answers with the child's pid.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class ForkServer:
    """The test's side. Children write what goes wrong to `log`."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pids: set[int] = set()

    def start(self, role: str, **order: Any) -> int:
        """Start a child that plays `role`, a function of fault_roles; returns its pid."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"role": role, **order}) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self.pids.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        """SIGKILL a child, whatever it does."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.wait(pid)

    def wait(self, pid: int, seconds: float = 30.0) -> None:
        """Until a child is gone."""
        deadline = time.monotonic() + seconds
        while is_alive(pid):
            assert time.monotonic() < deadline, f"process {pid} did not end"
            time.sleep(0.002)
        self.pids.discard(pid)

    def close(self) -> None:
        """Kill all children and the server."""
        for pid in list(self.pids):
            self.kill(pid)
        self._process.kill()
        self._process.communicate()


def is_alive(pid: int) -> bool:
    """Whether a process is there; children of the server are reaped by the kernel."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _play(order: dict[str, Any], log: str) -> None:
    """In the child: never returns."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a test that is killed leaves nothing running
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 2)
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        getattr(importlib.import_module("fault_roles"), order.pop("role"))(**order)
    except BaseException:  # noqa: BLE001 - whatever it was belongs into the log, never up into the server
        traceback.print_exc()
    finally:
        os._exit(0)


def main() -> None:
    """Serve orders until the test closes the pipe."""
    importlib.import_module("fault_roles")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _play(json.loads(line), sys.argv[1])
        print(pid, flush=True)


if __name__ == "__main__":
    main()
