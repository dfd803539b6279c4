"""Several clips at once on blocks of a real gang of 4 ranks, in one Ray: moved, paused, packed, and a rank killed."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gang_host
import pytest
import ray
import torch
from gang_host import EngineHost, Killing, Packing, Squeeze
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from safetensors.torch import load_file

import oldest_first
from deployment.store.sqlite import SqliteStore
from engine.messages import ClipJob, WorkerConfig
from engine.worker import RankWorker
from hhray.geometry import Ratio, Resolution
from hhray.prompting import model_text
from hhray.request import ClipRequest, Mode
from hhray.tasks import NewTask, Task, TaskState

pytestmark = pytest.mark.proof  # five processes that import torch
RANKS, PATIENCE = 4, 150
KeepProof = Callable[[str, dict[str, Any]], None]


class Bench:
    """The engine's actor, its store, and where latents are kept."""

    def __init__(self, home: Path) -> None:
        self.home, self.kept, self.scratch = home, home / "kept", home / "scratch"
        self.database = home / "tasks.sqlite3"
        self.kept.mkdir()
        self.store = SqliteStore(self.database)
        group = placement_group([{"CPU": 0.1}, *[{"CPU": 0.05}] * RANKS], strategy="STRICT_PACK")
        strategy = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=True)
        self.host = ray.remote(EngineHost).options(num_cpus=0.1, scheduling_strategy=strategy).remote()
        engine = {"preset": "pico", "ranks": RANKS, "threads_per_rank": 1, "cpus_per_rank": 0.05}
        overrides = {
            "data_dir": str(home),
            "engine": {**engine, "command_seconds": 0.001},  # a boundary after every step
            "router": {"poll_seconds": 0.1, "assign_timeout_seconds": 60.0},
            "store": {"lease_seconds": 60.0},
        }
        ray.get(self.host.start.remote(overrides), timeout=PATIENCE)

    def add(self, seed: int, ratio: Ratio = Ratio.R1_1, duration: int = 3) -> str:
        request = ClipRequest(
            model="happyhorse-1.0-t2v",
            mode=Mode.T2V,
            prompt=f"bell number {seed}",
            resolution=Resolution.P256,
            ratio=ratio,
            duration=duration,
            seed=seed,
        )
        return self.store.create(NewTask("tenant", request, "r", 1.0, True, str(uuid.uuid4()), 3600.0)).task_id

    def run(self, planner: Any, tickets: int) -> float:
        """Seconds until all tickets are back."""
        outcomes, seconds = ray.get(self.host.run.remote(planner, tickets), timeout=PATIENCE)
        assert set(outcomes) <= {"done", "empty"}, outcomes
        return float(seconds)

    def detail(self) -> dict[str, Any]:
        found: dict[str, Any] = ray.get(self.host.detail.remote(), timeout=PATIENCE)
        return found

    def task(self, task_id: str) -> Task:
        found = self.store.get(task_id)
        assert found is not None
        return found

    def latents(self) -> dict[str, torch.Tensor]:
        """Those kept at the last boundary, by task."""
        found: dict[str, torch.Tensor] = {}
        for path in self.kept.iterdir():
            names = path.stem.split("+")
            found |= dict(zip(names, load_file(path)["body"].chunk(len(names)), strict=True))
            path.unlink()
        return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    for module in (gang_host, oldest_first):  # workers do not find modules of tests
        ray.cloudpickle.register_pickle_by_value(module)
    with tempfile.TemporaryDirectory(prefix="hhray-") as folder:  # sockets need a short path
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        try:
            bench = Bench(tmp_path_factory.mktemp("gang"))
            yield bench
            ray.get(bench.host.stop.remote(), timeout=PATIENCE)
            bench.store.close()
        finally:
            ray.shutdown()
            for module in (gang_host, oldest_first):
                ray.cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Task], torch.Tensor]:
    """The latents of a task's clip when one rank makes it by itself."""
    worker = RankWorker(WorkerConfig(0, 1, gang_host.SERVED, "cpu", 1, str(tmp_path_factory.mktemp("alone"))))
    worker.join("", 0, 1)
    worker.load()

    def make(task: Task) -> torch.Tensor:
        request = task.request
        shape = (request.resolution.value, request.ratio.value, request.duration)
        worker.begin("alone", (ClipJob(task.task_id, model_text(request, None), request.seed, *shape),))
        worker.steps("alone", 0, gang_host.NUM_STEPS)
        video, audio = worker.latents("alone", 0)
        worker.end("alone")
        return torch.cat([video.flatten(), audio.flatten()])

    return make


def compared(bench: Bench, ids: list[str], alone: Callable[[Task], torch.Tensor]) -> float:
    """Every task ended in its first attempt, with a file and the latents of its single run; their largest difference,
    relative to the largest latent."""
    latents, differences = bench.latents(), []
    assert latents.keys() == set(ids)
    for task_id in ids:
        task = bench.task(task_id)
        assert (task.state, task.attempt, task.faults) == (TaskState.SUCCEEDED, 1, 0)
        expected = alone(task)
        differences.append(((latents[task_id] - expected).abs().max() / expected.abs().max()).item())
    assert list(bench.scratch.glob("*.paused*")) == [], "the files of pauses are gone"
    return max(differences)


def test_a_third_clip_takes_a_rank_of_the_first_which_gets_it_back(
    bench: Bench, alone: Callable[[Task], torch.Tensor], keep_proof: KeepProof
) -> None:
    ids = [bench.add(1, duration=5), bench.add(2, Ratio.R16_9), bench.add(3)]
    bench.run(Squeeze(bench.scratch, bench.kept, (ids[0], ids[1], ids[2])), 4)
    difference, reasons = compared(bench, ids, alone), bench.detail()["preemptions"]
    assert difference <= 1e-5
    assert (reasons["demoted"], reasons["promoted"]) == (1, 1), reasons
    keep_proof("gang_blocks_moved", {"preset": "pico", "ranks": RANKS, "difference": difference, "reasons": reasons})


def test_eight_clips_of_two_shapes_run_as_packed_batches_of_one_shape_each(
    bench: Bench, alone: Callable[[Task], torch.Tensor], keep_proof: KeepProof
) -> None:
    rates, difference = {}, 1.0
    for most in (1, 4):
        before = bench.detail()["batch_sizes"]
        ids = [bench.add(seed, ratio) for seed in range(10, 14) for ratio in (Ratio.R1_1, Ratio.R4_3)]
        seconds = bench.run(Packing(bench.scratch, bench.kept, bench.database, most), 9)
        after = bench.detail()["batch_sizes"]
        sizes = {size: count - before.get(size, 0) for size, count in after.items() if count > before.get(size, 0)}
        assert sizes == ({"1": 8} if most == 1 else {"4": 2})
        rates[most] = 3600 * len(ids) / seconds
        if most == 4:
            difference = compared(bench, ids, alone)
        bench.latents()
    assert difference <= 1e-5
    rounded = {f"clips_per_hour_in_batches_of_{most}": round(rate) for most, rate in rates.items()}
    print(rounded)
    keep_proof(
        "gang_blocks_batching", {"preset": "pico", "ranks": RANKS, "clips": 8, "difference": difference, **rounded}
    )


def test_a_lone_request_waits_for_no_company(bench: Bench) -> None:
    task = bench.task(bench.add(20))
    bench.run(Packing(bench.scratch, bench.kept, bench.database, 4), 2)
    bench.latents()
    ended = bench.task(task.task_id)
    assert ended.state is TaskState.SUCCEEDED
    assert ended.stages["queue_wait"] < 2, "claimed at once; a busy machine takes its time"


def test_only_the_block_of_a_killed_rank_is_blamed_and_a_paused_clip_goes_on(
    bench: Bench, keep_proof: KeepProof
) -> None:
    paused, left, right = (bench.add(seed, duration=duration) for seed, duration in ((30, 3), (31, 15), (32, 3)))
    bench.run(Killing([paused, left, right]), 6)
    found = {task_id: bench.task(task_id) for task_id in (paused, left, right)}
    assert {task.state for task in found.values()} == {TaskState.SUCCEEDED}
    counts = [(found[name].attempt, found[name].faults) for name in (paused, left, right)]
    assert counts == [(1, 0), (2, 0), (2, 1)]
    keep_proof("gang_blocks_killed", {"preset": "pico", "attempts and faults of paused, left, right": counts})
