"""A gang: the rank actors of one engine replica, driven together.

Rank r lives in bundle 1 + r of the replica's placement group, so the whole gang is placed, or not, as one. A gang that
lost a rank, or in which a call failed, is dead for good: its survivors are killed and the engine starts another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from engine.messages import ClipJob, LoadReport, MuxReport, StepReport, WorkerConfig
from engine.release import weights_folder
from hhray.errors import DiskFull, GangDied, PhaseTimeout, RequestError
from hhray.memory_size import Format, transformer_bytes
from hhray.served_model import ServedModel
from hhray.settings import Settings

logger = logging.getLogger("ray.serve")
LOOPBACK = "127.0.0.1"
COMPILE_SECONDS = 300.0  # seven kernels of some ten seconds on a slow processor, and room to spare


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

    def begin(self, batch_id: str, jobs: tuple[ClipJob, ...]) -> None:
        """See RankWorker.begin."""
        self._worker.begin(batch_id, jobs)

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


class Gang:
    """W rank actors behind one set of calls. Every call goes to all ranks and returns rank 0's answer."""

    def __init__(self, ranks: Sequence[Any], pids: Sequence[int], report: LoadReport) -> None:
        self._ranks = list(ranks)
        self.pids = list(pids)
        self.report = report
        self.fault: Exception | None = None
        self.cold_shapes = 0  # met by clips since the start
        self._watchers = [asyncio.ensure_future(self._watch(rank, r)) for r, rank in enumerate(self._ranks)]

    @classmethod
    async def start(cls, settings: Settings, served: ServedModel) -> Gang:
        """Start the ranks in the current placement group, let them meet, load the model.

        Raises:
            GangDied: a rank failed on the way, or the start took longer than `start_seconds`.
        """
        config, world = settings.engine, settings.engine.ranks
        limit = start_seconds(config.join_timeout_seconds, served) + warm_up_seconds(settings, served)
        ranks = [_create_rank(settings, served, r) for r in range(world)]
        try:
            async with asyncio.timeout(limit):
                host, port = await ranks[0].open_rendezvous.remote(config.device == "cpu")
                reports = await asyncio.gather(*(rank.start.remote(host, port, limit) for rank in ranks))
                pids = await asyncio.gather(*(rank.pid.remote() for rank in ranks))
        except (RayActorError, RayTaskError, TimeoutError) as error:
            _kill(ranks)
            raise GangDied(f"the gang of {world} ranks did not start: {error}") from error
        logger.info("gang ready: %d ranks, pids %s, loaded in %.1f s", world, pids, reports[0].seconds)
        return cls(ranks, pids, reports[0])

    async def begin(self, batch_id: str, jobs: tuple[ClipJob, ...], limit: float) -> None:
        """Encode text and pictures and draw the initial noise of a batch."""
        await self._all("begin", limit, batch_id, jobs)

    def steps(self, batch_id: str, first: int, count: int, limit: float) -> asyncio.Future[StepReport]:
        """Queue a command of denoising steps behind those already sent; await the result for its end."""
        return asyncio.ensure_future(self._steps(limit, batch_id, first, count))

    async def decode(self, batch_id: str, index: int, limit: float) -> None:
        """Decode one clip of a batch to frames and sound, on all ranks; rank 0 begins to write its file."""
        await self._all("decode", limit, batch_id, index)

    async def mux(self, batch_id: str, index: int, name: str, limit: float) -> MuxReport:
        """Wait for a decoded clip's MP4 in the scratch directory; steps of another batch may run meanwhile."""
        report = await self._all("mux", limit, batch_id, index, name)
        if not isinstance(report, MuxReport):
            raise GangDied(f"rank 0 wrote no clip {name}")
        return report

    async def end(self, batch_id: str, limit: float) -> None:
        """Forget a batch in whatever state it is."""
        await self._all("end", limit, batch_id)

    def close(self) -> None:
        """Kill every rank."""
        for watcher in self._watchers:
            watcher.cancel()
        _kill(self._ranks)

    async def _steps(self, limit: float, *args: Any) -> StepReport:
        report: StepReport = await self._all("steps", limit, *args)
        self.cold_shapes += report.cold_shapes
        return report

    async def _all(self, method: str, limit: float, *args: Any) -> Any:
        """Call all ranks; the first failure, or `limit` seconds without an end, kills the gang.

        Raises:
            RequestError: the request itself is at fault (a picture that cannot be read); the gang lives on.
            DiskFull: the scratch disk is full; the gang lives on.
            GangDied, PhaseTimeout: the gang is dead.
        """
        if self.fault is not None:
            raise GangDied(str(self.fault))
        calls = [getattr(rank, method).remote(*args) for rank in self._ranks]
        try:
            async with asyncio.timeout(limit):
                return (await asyncio.gather(*calls))[0]
        except (RequestError, DiskFull) as error:
            raise getattr(error, "cause", error) from None  # Ray wraps it; the client wants the original
        except TimeoutError:
            self._die(PhaseTimeout(f"{method} did not end within {limit:.0f} s"))
        except (RayActorError, RayTaskError) as error:
            self._die(GangDied(f"{method} failed on a rank: {_first_line(error)}"))
        raise self.fault or GangDied(method)

    async def _watch(self, rank: Any, number: int) -> None:
        try:
            await rank.watch.remote()
        except RayActorError as error:
            self._die(GangDied(f"rank {number} died: {_first_line(error)}"))

    def _die(self, fault: Exception) -> None:
        if self.fault is None:
            self.fault = fault
            logger.error("gang died: %s", fault)
            _kill(self._ranks)
            self._kill_processes()

    def _kill_processes(self) -> None:
        """A rank that hangs obeys nobody but the kernel. All ranks are on this node (STRICT_PACK)."""
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def start_seconds(join_timeout_seconds: float, served: ServedModel) -> float:
    """Longest start of a gang: the setting, and a second for every 100 MB of float32 weights it may have to read."""
    networks = 1 + len(set(served.ladder.values()))
    return join_timeout_seconds + networks * transformer_bytes(served.size, Format.FP32) / 1e8


def warm_up_seconds(settings: Settings, served: ServedModel) -> float:
    """Longest time on top for compiling, and for a step of each shape of the warm-up: what its clip would take."""
    engine, cost = settings.engine, settings.cost_model(served)
    shapes = sum(sum(cost.steps_seconds(shape.geometry, engine.ranks, 1)) for shape in engine.warm_up)
    return (COMPILE_SECONDS if engine.compiles else 0.0) + shapes


def _create_rank(settings: Settings, served: ServedModel, rank: int) -> Any:
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
    )
    return RankActor.options(  # type: ignore[attr-defined]
        num_cpus=config.cpus_per_rank,
        num_gpus=1 if config.device == "cuda" else 0,
        max_restarts=0,
        scheduling_strategy=PlacementGroupSchedulingStrategy(
            get_current_placement_group(), placement_group_bundle_index=1 + rank
        ),
    ).remote(worker)


def _kill(ranks: Sequence[Any]) -> None:
    for rank in ranks:
        ray.kill(rank, no_restart=True)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if isinstance(error, RayTaskError) and lines else (lines or [type(error).__name__])[0]
