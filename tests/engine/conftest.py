"""Fixtures of the engine's tests: golden tensors, and scenarios run on groups of real rank processes."""

from __future__ import annotations

import json
import multiprocessing
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
SHARED_GOLDEN = HERE.parents[1].parent / "shared" / "golden"
RANK_TIMEOUT_SECONDS = 150


@pytest.fixture(scope="session")
def golden_folder() -> Callable[[str], Path]:
    """The golden directory that holds a file of the published implementation's tensors; skips where there is none."""

    def find(name: str) -> Path:
        for folder in (HERE / "golden", SHARED_GOLDEN):
            if (folder / f"{name}.safetensors").exists():
                return folder
        pytest.skip(f"{name}.safetensors is not kept in this repository, and {SHARED_GOLDEN} does not exist")

    return find


@pytest.fixture(scope="session")
def golden(golden_folder: Callable[[str], Path]) -> Callable[[str], dict[str, torch.Tensor]]:
    """The tensors of a golden file by name; skips where it is absent."""
    return lambda name: load_file(golden_folder(name) / f"{name}.safetensors")


@dataclass(frozen=True)
class RankResult:
    """What a script left behind for one rank."""

    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]


RankScript = Callable[[int], list[RankResult]]


@pytest.fixture(scope="session")
def gang(tmp_path_factory: pytest.TempPathFactory) -> RankScript:
    """Results of all ranks of a group of that size; each size runs once a session."""
    return _once_a_size("rank_process.py", tmp_path_factory)


@pytest.fixture(scope="session")
def layout_gang(tmp_path_factory: pytest.TempPathFactory) -> RankScript:
    """As `gang`, of ranks that share a forward pass in every layout."""
    return _once_a_size("layout_ranks.py", tmp_path_factory)


@pytest.fixture(scope="session")
def block_gang(tmp_path_factory: pytest.TempPathFactory) -> RankScript:
    """As `gang`, of ranks whose clips move between blocks."""
    return _once_a_size("block_ranks.py", tmp_path_factory)


@pytest.fixture(scope="session")
def decode_gang(tmp_path_factory: pytest.TempPathFactory) -> RankScript:
    """As `gang`, of ranks that decode clips together."""
    return _once_a_size("decode_ranks.py", tmp_path_factory)


def _once_a_size(script: str, tmp_path_factory: pytest.TempPathFactory) -> RankScript:
    results: dict[int, list[RankResult]] = {}

    def run(world_size: int) -> list[RankResult]:
        if world_size not in results:
            results[world_size] = _run_ranks(script, world_size, tmp_path_factory.mktemp(f"world{world_size}"))
        return results[world_size]

    return run


def _run_ranks(file_name: str, world_size: int, folder: Path) -> list[RankResult]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["engine.worker", "torch._dynamo"])  # imports once, not once a rank
    script = str(HERE / file_name)
    ranks = []
    for rank in range(world_size):
        arguments = {"RANK": rank, "WORLD_SIZE": world_size, "FOLDER": folder}
        ranks.append(context.Process(target=runpy.run_path, args=(script, arguments, "rank"), daemon=True))
    try:
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(RANK_TIMEOUT_SECONDS)
    finally:
        for process in ranks:
            process.kill()
    assert [process.exitcode for process in ranks] == [0] * world_size, "see the ranks' errors on stderr"
    return [
        RankResult(load_file(folder / f"rank{rank}.safetensors"), json.loads((folder / f"rank{rank}.json").read_text()))
        for rank in range(world_size)
    ]
