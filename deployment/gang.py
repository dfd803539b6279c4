"""A gang: the rank actors of one engine replica, driven together.

Rank r lives in bundle 1 + r of the replica's placement group, so the whole gang is placed, or not, as one. A gang that
lost a rank, or in which a call failed, is dead for good: its survivors are killed and the engine starts another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from deployment.rank_actor import create_rank
from engine.messages import ClipJob, LoadReport, MuxReport, StepReport
from hhray.blocks import Block
from hhray.errors import ConfigError, DiskFull, EngineFault, GangDied, PhaseTimeout, RequestError
from hhray.memory_size import Format, transformer_bytes
from hhray.served_model import ServedModel
from hhray.settings import Settings

logger = logging.getLogger("ray.serve")
SETTLE_SECONDS = 1.0  # within which the death of a process is known here
COMPILE_SECONDS = 300.0  # seven kernels of some ten seconds on a slow processor, and room to spare


@dataclass(slots=True)
class _Place:
    """Where a batch is: its block, the jobs others need to join it, and all ranks that may keep something of it."""

    jobs: tuple[ClipJob, ...]
    block: Block
    keepers: set[int]


class Gang:
    """W rank actors behind one set of calls. A batch's calls go to the ranks of its block, and return the answer of the
    first of them. Calls to several ranks are sent at one instant, so that all ranks get them in the same order."""

    def __init__(self, ranks: Sequence[Any], pids: Sequence[int], reports: Sequence[LoadReport]) -> None:
        self._ranks = list(ranks)
        self.pids = list(pids)
        self.report = reports[0]
        self.gpus = [report.gpu for report in reports]
        self.fault: EngineFault | None = None
        self.cold_shapes = 0  # met by clips since the start
        self._places: dict[str, _Place] = {}
        self._watchers = [asyncio.ensure_future(self._watch(rank, r)) for r, rank in enumerate(self._ranks)]

    @classmethod
    async def start(cls, settings: Settings, served: ServedModel) -> Gang:
        """Start the ranks in the current placement group, let them meet, load the model.

        Raises:
            GangDied: a rank failed on the way, or the start took longer than `start_seconds`.
        """
        config, world = settings.engine, settings.engine.ranks
        limit = start_seconds(config.join_timeout_seconds, served) + warm_up_seconds(settings, served)
        ranks = [create_rank(settings, served, r) for r in range(world)]
        try:
            async with asyncio.timeout(limit):
                host, port = await ranks[0].open_rendezvous.remote(config.device == "cpu")
                reports = await asyncio.gather(*(rank.start.remote(host, port, limit) for rank in ranks))
                pids = await asyncio.gather(*(rank.pid.remote() for rank in ranks))
        except (RayActorError, RayTaskError, TimeoutError) as error:
            _kill(ranks)
            raise GangDied(f"the gang of {world} ranks did not start: {error}") from error
        logger.info("gang ready: %d ranks, pids %s, loaded in %.1f s", world, pids, reports[0].seconds)
        return cls(ranks, pids, reports)

    async def begin(self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block, limit: float) -> None:
        """Encode text and pictures and draw the initial noise of a batch, on the ranks of a block."""
        self._places[batch_id] = _Place(jobs, block, set(block.ranks))
        await self._call("begin", block.ranks, limit, batch_id, jobs, block)

    def steps(self, batch_id: str, first: int, count: int, limit: float) -> asyncio.Future[StepReport]:
        """Queue a command of denoising steps behind those already sent; await the result for its end."""
        return asyncio.ensure_future(self._steps(batch_id, first, count, limit))

    async def move(self, batch_id: str, block: Block, limit: float) -> None:
        """Have the ranks of another block go on; those that join begin the batch first."""
        place = self._places[batch_id]
        old, joining = place.block, [rank for rank in block.ranks if rank not in place.block]
        place.keepers |= set(joining)
        if joining:
            await self._call("begin", joining, limit, batch_id, place.jobs, old)
        place.block = block
        await self._call("move", sorted({*old.ranks, *block.ranks}), limit, batch_id, block)

    async def pause(self, batch_id: str, path: Path, limit: float) -> bool:
        """Take a batch off its ranks; its state stays in their memory, and in a file that outlives the gang.

        Returns whether the file could be written; a batch without cannot be resumed.
        """
        is_kept = await self._call("pause", self._places[batch_id].block.ranks, limit, batch_id, str(path))
        return bool(is_kept)

    async def resume(
        self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block, path: Path, next_step: int, limit: float
    ) -> None:
        """Go on with a paused batch, also one of a gang that died, on the ranks of a block."""
        place = self._places.setdefault(batch_id, _Place(jobs, block, set()))
        place.block = block
        place.keepers |= set(block.ranks)
        await self._call("resume", block.ranks, limit, batch_id, jobs, block, str(path), next_step)

    async def decode(self, batch_id: str, index: int, limit: float) -> None:
        """Decode one clip of a batch to frames and sound, by its block; the first rank begins to write its file."""
        await self._call("decode", self._places[batch_id].block.ranks, limit, batch_id, index)

    async def mux(self, batch_id: str, index: int, name: str, limit: float) -> MuxReport:
        """Wait for a decoded clip's MP4 in the scratch directory; steps of another batch may run meanwhile."""
        first = self._places[batch_id].block.first
        report = await self._call("mux", [first], limit, batch_id, index, name)
        if not isinstance(report, MuxReport):
            raise GangDied(f"rank {first} wrote no clip {name}").at([first])
        return report

    async def end(self, batch_id: str, limit: float) -> None:
        """Forget a batch in whatever state it is."""
        place = self._places.pop(batch_id, None)
        if place is not None:
            await self._call("end", sorted(place.keepers), limit, batch_id)

    def close(self) -> None:
        """Kill every rank."""
        for watcher in self._watchers:
            watcher.cancel()
        _kill(self._ranks)

    async def _steps(self, batch_id: str, first: int, count: int, limit: float) -> StepReport:
        ranks = self._places[batch_id].block.ranks
        report: StepReport = await self._call("steps", ranks, limit, batch_id, first, count)
        self.cold_shapes += report.cold_shapes
        return report

    async def _call(self, method: str, ranks: Sequence[int], limit: float, *args: Any) -> Any:
        """Call some ranks; the first failure, or `limit` seconds without an end, kills the gang.

        Raises:
            RequestError: the request itself is at fault (a picture that cannot be read); the gang lives on.
            ConfigError: the block does not fit the batch; the gang lives on.
            DiskFull: the scratch disk is full; the gang lives on.
            GangDied, PhaseTimeout: the gang is dead.
        """
        if self.fault is not None:
            raise self.fault
        calls = {
            asyncio.ensure_future(_answer(getattr(self._ranks[rank], method).remote(*args))): rank for rank in ranks
        }
        done, pending = await asyncio.wait(calls, timeout=limit, return_when=asyncio.FIRST_EXCEPTION)
        for call in pending:
            call.cancel()
        failed = [call for call in calls if call in done and call.exception() is not None]
        if not pending and not failed:
            return next(iter(calls)).result()
        for call in failed:
            error = call.exception()
            if isinstance(error, (RequestError, ConfigError, DiskFull)):
                raise getattr(error, "cause", error) from None  # Ray wraps it; the client wants the original
        if failed:
            await self._die_of(method, failed[0].exception(), calls[failed[0]])
        else:
            self._die(PhaseTimeout(f"{method} did not end within {limit:.0f} s").at(calls[call] for call in pending))
        raise self.fault or GangDied(method)

    async def _die_of(self, method: str, error: BaseException | None, rank: int) -> None:
        """A rank said why it failed. Where its peer was killed, that is a broken exchange, and the peer is to blame:
        the news of its death is waited for."""
        if isinstance(error, RayTaskError):
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS):
                    await asyncio.gather(*(asyncio.shield(watcher) for watcher in self._watchers))
        elif not isinstance(error, RayActorError):
            raise error or GangDied(method)
        self._die(GangDied(f"{method} failed on rank {rank}: {_first_line(error)}").at([rank]))

    async def _watch(self, rank: Any, number: int) -> None:
        try:
            await rank.watch.remote()
        except RayActorError as error:
            self._die(GangDied(f"rank {number} died: {_first_line(error)}").at([number]))

    def _die(self, fault: EngineFault) -> None:
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


async def _answer(reference: Any) -> Any:
    return await reference


def _kill(ranks: Sequence[Any]) -> None:
    for rank in ranks:
        ray.kill(rank, no_restart=True)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if isinstance(error, RayTaskError) and lines else (lines or [type(error).__name__])[0]
