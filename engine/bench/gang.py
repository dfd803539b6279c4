"""Measures passes on several ranks: a process each, gloo on a CPU, NCCL with one rank a GPU. No Ray."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from engine.bench.arguments import Options
from engine.bench.figures import StageFigures, of_all_ranks
from engine.bench.rank import ORDER
from hhray.errors import EngineFault

POLL_SECONDS = 0.05


def measure_on_ranks(options: Options, threads: int) -> list[StageFigures]:
    """Every pass of the options' clip, as the slowest of `options.ranks` ranks saw it.

    Args:
        options: what to measure.
        threads: of each rank on a CPU.

    Raises:
        EngineFault: a rank failed; the message is its own.
    """
    with tempfile.TemporaryDirectory(prefix="hhray-bench-") as name:
        folder = Path(name)
        order = {"options": asdict(options), "threads": threads}
        (folder / ORDER).write_text(json.dumps(order), encoding="utf-8")
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            ranks += [_started(folder, rank) for rank in range(options.ranks)]
            wait(ranks, folder)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
        texts = [(folder / f"rank{rank}.json").read_text(encoding="utf-8") for rank in range(options.ranks)]
    by_rank = [[StageFigures.from_row(row) for row in json.loads(text)] for text in texts]
    return [of_all_ranks(same) for same in zip(*by_rank, strict=True)]


def _started(folder: Path, rank: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "engine.bench.rank", str(folder), str(rank)]
    # stdout belongs to the result; progress and tracebacks go to the terminal
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 - our own module


def wait(ranks: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    """Return once all have ended well.

    Raises:
        EngineFault: one has not; the others would wait for it for half an hour.
    """
    while True:
        codes = [process.poll() for process in ranks]
        if all(code == 0 for code in codes):
            return
        failed = next((rank for rank, code in enumerate(codes) if code), None)
        if failed is not None:
            file = folder / f"error{failed}.txt"
            reason = file.read_text(encoding="utf-8") if file.exists() else "its error is printed above"
            raise EngineFault(f"rank {failed} of {len(ranks)} ended with code {codes[failed]}: {reason}")
        time.sleep(POLL_SECONDS)
