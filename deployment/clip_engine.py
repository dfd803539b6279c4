"""ClipEngine: the coordinator replica of one gang. It turns tickets into clips, several at once on its blocks."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections import Counter
from contextlib import suppress

from ray import serve
from ray.serve.handle import DeploymentHandle

from deployment.artifacts import open_artifacts
from deployment.batch_metrics import detail_of_batches
from deployment.batch_table import BatchTable
from deployment.boundaries import Boundaries, Ticket
from deployment.claiming import Claimer, batch_of
from deployment.clip_run import ClipRun
from deployment.finishing import Finishing
from deployment.fitness import EngineFitness
from deployment.gang import Gang
from deployment.janitor import sweep_scratch
from deployment.keys import server_secret
from deployment.lease_keeper import LeaseKeeper
from deployment.scheduler.values import GangPlan, GangState, Measurement, Start
from deployment.seat import GangSeat
from deployment.store import open_store
from deployment.store.base import Claim
from engine.checkpoint.digest import weights_digest
from engine.release import weights_folder
from hhray.errors import ArtifactsUnavailable, EngineFault, RequestError, StoreUnavailable
from hhray.prompting import load_rewriter
from hhray.served_model import ServedModel
from hhray.settings import Settings
from hhray.tasks import EngineRecord

logger = logging.getLogger("ray.serve")


class ClipEngine:
    """One engine replica: a CPU coordinator and W rank actors in its placement group."""

    async def __init__(self, settings: Settings, served: ServedModel) -> None:  # type: ignore[misc]  # Serve awaits it
        began = time.monotonic()
        self._settings, self._served = settings, served
        self._cost = settings.cost_model(served)
        self._rewriter = load_rewriter(settings.engine.prompt_rewriter)
        self._store = open_store(settings)
        self._artifacts = open_artifacts(settings, server_secret(settings))
        self._finishing = Finishing(settings, self._store)
        self._engine_id = f"engine-{uuid.uuid4()}"
        self._fitness = EngineFitness(settings, self._engine_id)
        await asyncio.to_thread(sweep_scratch, settings.scratch_dir, settings.store.orphan_grace_seconds)
        await asyncio.to_thread(self._artifacts.sweep)
        self._gang: Gang | None = None
        self._start_seconds = 0.0  # of the whole engine: what autoscaling calls a cold start
        self._stopping = False
        self._broken: EngineFault | None = None
        self._runs: set[asyncio.Task[None]] = set()
        self._batch_sizes: Counter[int] = Counter()
        self._measured: list[Measurement] = []
        self._gang_turn = asyncio.Lock()
        self._table = BatchTable(self._engine_id, settings.engine.ranks)
        self._claimer = Claimer(self._store, self._engine_id, settings.store.lease_seconds, settings.engine.ranks)
        self._boundaries = Boundaries(
            self._table,
            self._ask_router,
            self._be_ready,
            self._begin,
            settings.router.poll_seconds,
            settings.router.assign_timeout_seconds,
        )
        self._keeper = LeaseKeeper(
            self._store,
            self._engine_id,
            settings.store.lease_seconds,
            settings.router.heartbeat_seconds,
            self._describe,
        )
        folder = weights_folder(settings.engine.checkpoint, settings.engine.preset)
        self._weights = asyncio.ensure_future(asyncio.to_thread(weights_digest, folder, settings.engine.preset))
        await self._ensure_gang()
        self._start_seconds = time.monotonic() - began
        logger.info("engine ready after %.1f s", self._start_seconds)

    async def run_next(self, ticket: str) -> str:
        """Redeem a ticket: held until the clips it was used for end.

        Returns "done", "empty" when nothing was left to claim, or "refused" when this engine takes no work now.
        """
        if self._stopping or self._keeper.draining or self._broken is not None:
            return "refused"
        if not await self._is_fit():
            return "refused"
        # Shielded: a caller that goes away (a dead router) must not take the clip with it.
        return await asyncio.shield(asyncio.ensure_future(self._boundaries.redeem(ticket)))

    def _begin(self, start: Start, name: str, ticket: Ticket) -> None:
        task = asyncio.create_task(self._redeem(start, name, ticket))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def _redeem(self, start: Start, name: str, ticket: Ticket) -> None:
        """Use a ticket for a start: claim its tasks, make their clips, return the ticket when they have ended."""
        try:
            claims = await self._claimer.claim(start)
        except StoreUnavailable as error:
            logger.warning("nothing claimed: %s", error)
            self._boundaries.unclaimed(name, ticket, nothing_waits=True)
            return
        if not claims:
            self._boundaries.unclaimed(name, ticket, nothing_waits=not start.task_ids)
            return
        batch = batch_of(claims, start)
        self._boundaries.claimed(name, batch)
        try:
            await self._run(claims, GangSeat(self._boundaries, batch.batch_id, start.block, self._living_gang))
        except EngineFault as error:
            logger.error("batch lost: %s", error)
            with suppress(EngineFault):  # check_health tells Serve of a gang that cannot be started
                await self._ensure_gang()
        except ArtifactsUnavailable as error:
            self._fitness.not_stored(error)
        except StoreUnavailable as error:
            logger.error("batch %s: %s", batch.batch_id, error)
        finally:
            ticket.close("done")

    async def _run(self, claims: list[Claim], seat: GangSeat) -> None:
        """Make a batch and deliver its files; meanwhile its ranks make the next clips.

        Raises:
            EngineFault: the gang is dead; what was lost is released.
            ArtifactsUnavailable, StoreUnavailable: as ClipRun.deliver.
        """
        try:
            made = await self._make(claims, seat)
        finally:
            seat.leave()
            await self._tell_what_was_measured()
        for run in made:
            await run.deliver()
            self._fitness.stored()

    async def _make(self, claims: list[Claim], seat: GangSeat) -> list[ClipRun]:
        """Make a batch; when one of its requests cannot be run, each alone, so that only that one fails.

        Returns the runs that are to be delivered.
        """
        run = self._clip_run(claims, seat)
        self._batch_sizes[len(claims)] += 1
        try:
            return [run] if await run.make() else []
        except RequestError as error:
            logger.warning("batch of %d split: %s", len(claims), error)
            for claim in claims:
                await self._clip_run([claim], seat).run()
            return []

    def _clip_run(self, claims: list[Claim], seat: GangSeat) -> ClipRun:
        return ClipRun(
            claims,
            seat=seat,
            store=self._store,
            artifacts=self._artifacts,
            keeper=self._keeper,
            settings=self._settings,
            cost=self._cost,
            rewriter=self._rewriter,
            finishing=self._finishing,
            observe=self._measured.append,
            weights=self._weights,
        )

    async def _ask_router(self, ticket: str | None, state: GangState) -> GangPlan:
        plan: GangPlan = await self._router().plan.remote(ticket, state)
        return plan

    @staticmethod
    def _router() -> DeploymentHandle:
        return serve.get_deployment_handle("Router", serve.get_replica_context().app_name)

    async def _tell_what_was_measured(self) -> None:
        """Teach the router's cost model; what it does not hear is lost, and learnt from the next clips."""
        measured, self._measured = self._measured, []
        try:
            async with asyncio.timeout(self._settings.router.assign_timeout_seconds):
                await self._router().learn.remote(measured)
        except Exception as error:  # noqa: BLE001 - any failure of the router must leave engines working
            logger.warning("router away (%s): it learns nothing from this batch", type(error).__name__)

    async def _be_ready(self) -> None:
        """Called before each plan: the gang lives, and takes new work."""
        if self._keeper.draining or not await self._is_fit():
            self._boundaries.refuse()
        await self._ensure_gang()

    async def _is_fit(self) -> bool:
        """Whether its disks and GPUs are fit for another clip. A store that is away says nothing about that."""
        try:
            return await asyncio.to_thread(self._fitness.may_work, self._store)
        except StoreUnavailable:
            return True

    def _living_gang(self) -> Gang:
        if self._gang is None:
            raise EngineFault("the gang has not been started; this is a fault of the caller")
        return self._gang

    async def _ensure_gang(self) -> None:
        """A dead gang is replaced. One that will not start leaves the replica to Serve.

        Raises:
            EngineFault: it did not start.
        """
        async with self._gang_turn:
            if self._gang is not None and self._gang.fault is None:
                return
            if self._gang is not None:
                self._fitness.gang_failed(self._gang.fault)
                self._gang.close()
                self._table.cool()
            try:
                self._gang = await Gang.start(self._settings, self._served)
                self._table.least_ranks, self._fitness.gpus = self._gang.report.least_ranks, self._gang.gpus
            except EngineFault as error:
                self._broken = error
                raise

    def _describe(self) -> EngineRecord:
        gang, is_warm = self._gang, self._gang is not None and self._gang.fault is None
        state = "busy" if self._table.num_clips else "ready"
        return EngineRecord(
            engine_id=self._engine_id,
            world_size=self._settings.engine.ranks,
            preset=self._served.size.name,
            state=self._fitness.state(state if is_warm else "starting"),  # a dead gang is not warm
            detail={
                "pid": os.getpid(),
                "rank_pids": gang.pids if gang else [],
                "attention": gang.report.attention if gang else {},
                "arithmetic": gang.report.arithmetic if gang else "",
                "cold_shapes": gang.cold_shapes if gang else 0,
                "start_seconds": self._start_seconds,
                **detail_of_batches(self._batch_sizes, self._table.clips_by_degree, self._boundaries.preemptions),
                **self._fitness.report(),
            },
        )

    async def check_health(self) -> None:
        """Fails, so that Serve replaces the replica, when no gang could be started or nobody asks for work any more."""
        if self._broken is not None:
            raise self._broken
        if self._boundaries.loop.done():
            raise RuntimeError("the engine's loop ended")

    async def __del__(self) -> None:
        """Graceful stop: Serve has waited for the tickets whose router still lives; the others are waited for here."""
        self._stopping = True
        await asyncio.gather(*self._runs, return_exceptions=True)
        self._boundaries.close()
        self._keeper.close()
        if self._gang is not None:
            self._gang.close()
        try:
            self._store.close()
        except StoreUnavailable as error:
            logger.warning("store not closed: %s", error)
