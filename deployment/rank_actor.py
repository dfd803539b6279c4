"""The actor of one rank: a RankWorker in a process of its own, with one GPU or some CPU."""

from __future__ import annotations

import os
import threading
from typing import Any

import ray
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from engine.messages import ClipJob, LoadReport, MoveReport, MuxReport, StepReport, WorkerConfig
from engine.release import weights_folder
from hhray.blocks import Block
from hhray.served_model import ServedModel
from hhray.settings import Settings

LOOPBACK = "127.0.0.1"


@ray.remote(concurrency_groups={"control": 2, "files": 1})
class RankActor:
    """Hosts a RankWorker: its calls run one after another on one thread, `watch` and `pid` beside them, and `mux` and
    `end` on a third, so that the next clip's steps wait for no file."""

    def __init__(self, config: WorkerConfig) -> None:
        from engine.worker import RankWorker  # noqa: PLC0415 - torch is for ranks; the coordinator does without

        self._worker = RankWorker(config)

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def watch(self) -> None:
        """Never returns: the caller's reference fails when, and only when, this process dies."""
        threading.Event().wait()

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def pid(self) -> int:
        """The process id, for operators and for tests that kill it."""
        return os.getpid()

    def open_rendezvous(self, single_node: bool) -> tuple[str, int]:
        """Rank 0 opens the store all ranks meet at; returns (host, port)."""
        host = LOOPBACK if single_node else ray.util.get_node_ip_address()
        return host, self._worker.open_rendezvous(host)

    def start(self, host: str, port: int, timeout_seconds: float) -> LoadReport:
        """Join the process group and load the model."""
        self._worker.join(host, port, timeout_seconds)
        return self._worker.load()

    def begin(self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block) -> None:
        """See RankWorker.begin."""
        self._worker.begin(batch_id, jobs, block)

    def move(self, batch_id: str, block: Block) -> MoveReport:
        """See RankWorker.move."""
        return self._worker.move(batch_id, block)

    def pause(self, batch_id: str, path: str) -> bool:
        """See RankWorker.pause."""
        return self._worker.pause(batch_id, path)

    def resume(self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block, path: str, next_step: int) -> None:
        """See RankWorker.resume."""
        self._worker.resume(batch_id, jobs, block, path, next_step)

    def steps(self, batch_id: str, first: int, count: int) -> StepReport:
        """See RankWorker.steps."""
        return self._worker.steps(batch_id, first, count)

    def decode(self, batch_id: str, index: int) -> None:
        """See RankWorker.decode."""
        self._worker.decode(batch_id, index)

    @ray.method(concurrency_group="files")  # type: ignore[untyped-decorator]
    def mux(self, batch_id: str, index: int, name: str) -> MuxReport | None:
        """See RankWorker.mux."""
        return self._worker.mux(batch_id, index, name)

    @ray.method(concurrency_group="files")  # type: ignore[untyped-decorator]
    def end(self, batch_id: str) -> None:
        """See RankWorker.end."""
        self._worker.end(batch_id)


def create_rank(settings: Settings, served: ServedModel, rank: int) -> Any:  # noqa: ANN401 - Ray's handles are untyped
    """The actor of a rank, in bundle 1 + rank of the current placement group."""
    config = settings.engine
    threads = config.threads_per_rank or max(1, (os.cpu_count() or 1) // config.ranks)
    worker = WorkerConfig(
        rank=rank,
        world_size=config.ranks,
        served=served,
        device=config.device,
        threads=threads,
        scratch_dir=str(settings.scratch_dir),
        checkpoint=str(weights_folder(config.checkpoint, config.preset) or ""),
        tiers=config.tiers,
        max_seconds=config.max_seconds,
        decoder=config.decoder,
        frames_per_second=config.frames_per_second,
        sample_rate=config.sample_rate,
        reference_noise=config.reference_noise,
        layout=config.parallel_layout,
        video_only_ranks=config.video_only_ranks,
        compiled=config.compiles,
        kernel_dir=str(settings.kernel_dir),
        warm_up=tuple(shape.geometry for shape in config.warm_up),
        max_pixels=settings.media.max_pixels,
        precision=config.precision,
        attention_precision=config.attention_precision,
        marking_font=settings.marking.font,
        invisible=settings.marking.invisible,
    )
    return RankActor.options(  # type: ignore[attr-defined]
        num_cpus=config.cpus_per_rank,
        num_gpus=config.rank_gpus,
        max_restarts=0,
        scheduling_strategy=PlacementGroupSchedulingStrategy(
            get_current_placement_group(), placement_group_bundle_index=1 + rank
        ),
    ).remote(worker)
