"""ClipEngine: the coordinator replica of one gang. It turns tickets into clips."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid

from ray import serve

from deployment.artifacts import DirectoryArtifacts
from deployment.claiming import Claimer
from deployment.clip_run import ClipRun
from deployment.fitness import EngineFitness
from deployment.gang import Gang
from deployment.janitor import sweep_scratch
from deployment.keys import server_secret
from deployment.lease_keeper import LeaseKeeper
from deployment.scheduling import Assignment
from deployment.store import open_store
from deployment.store.base import Claim
from hhray.errors import ArtifactsUnavailable, EngineFault, RequestError, StoreUnavailable
from hhray.prompting import load_rewriter
from hhray.served_model import ServedModel
from hhray.settings import Settings
from hhray.tasks import EngineRecord

logger = logging.getLogger("ray.serve")


class ClipEngine:
    """One engine replica: a CPU coordinator and W rank actors in its placement group."""

    async def __init__(self, settings: Settings, served: ServedModel) -> None:  # type: ignore[misc]  # Serve awaits it
        self._settings, self._served = settings, served
        self._cost = settings.cost_model(served)
        self._rewriter = load_rewriter(settings.engine.prompt_rewriter)
        self._store = open_store(settings)
        self._artifacts = DirectoryArtifacts(settings.artifact_dir, server_secret(settings))
        self._engine_id = f"engine-{uuid.uuid4()}"
        self._fitness = EngineFitness(settings, self._engine_id)
        await asyncio.to_thread(sweep_scratch, settings.scratch_dir, settings.store.orphan_grace_seconds)
        self._gang_turn = asyncio.Lock()
        self._gang: Gang | None = None
        self._broken: Exception | None = None
        self._state = "starting"
        self._keeper = LeaseKeeper(
            self._store,
            self._engine_id,
            settings.store.lease_seconds,
            settings.router.heartbeat_seconds,
            self._describe,
        )
        self._claimer = Claimer(
            self._store,
            self._engine_id,
            settings.store.lease_seconds,
            self._ask_router,
            settings.router.assign_timeout_seconds,
        )
        await self._ensure_gang()

    async def run_next(self, ticket: str) -> str:
        """Redeem a ticket: claim the next batch and run it. Held until the clips end.

        Returns "done", "empty" when there was nothing to claim, or "refused" when this engine takes no work now.
        """
        # Shielded: a caller that goes away (a dead router) must not take the clip with it.
        return await asyncio.shield(asyncio.ensure_future(self._redeem(ticket)))

    async def _redeem(self, ticket: str) -> str:
        async with self._gang_turn:
            if self._keeper.draining or self._broken is not None:
                return "refused"
            if not await asyncio.to_thread(self._fitness.may_work, self._store):
                return "refused"
            gang = await self._ensure_gang()
            claims = await self._claimer.claim(ticket)
            if not claims:
                return "empty"
            self._state = "busy"
            try:
                made = await self._make(claims, gang)
            except EngineFault as error:
                logger.error("batch lost: %s", error)
                self._fitness.gang_failed(None, error)
                await self._ensure_gang()
                return "done"
            except ArtifactsUnavailable as error:
                self._fitness.not_stored(error)
                return "done"
            finally:
                self._state = "ready"
        # The ranks are free: the next ticket's clips are made while these files are written.
        for run in made:
            await self._deliver(run)
        return "done"

    async def _make(self, claims: list[Claim], gang: Gang) -> list[ClipRun]:
        """Make a batch; when one of its requests cannot be run, each alone, so that only that one fails.

        Returns the runs that are to be delivered.
        """
        run = self._clip_run(claims, gang)
        try:
            return [run] if await run.make() else []
        except RequestError as error:
            logger.warning("batch of %d split: %s", len(claims), error)
            for claim in claims:
                await self._clip_run([claim], gang).run()
            return []

    async def _deliver(self, run: ClipRun) -> None:
        try:
            await run.deliver()
            self._fitness.stored()
        except ArtifactsUnavailable as error:
            self._fitness.not_stored(error)
        except EngineFault as error:
            logger.error("files lost: %s", error)
            async with self._gang_turn:
                await self._ensure_gang()

    def _clip_run(self, claims: list[Claim], gang: Gang) -> ClipRun:
        return ClipRun(
            claims,
            gang=gang,
            store=self._store,
            artifacts=self._artifacts,
            keeper=self._keeper,
            settings=self._settings,
            cost=self._cost,
            rewriter=self._rewriter,
        )

    async def _ask_router(self, ticket: str) -> Assignment | None:
        router = serve.get_deployment_handle("Router", serve.get_replica_context().app_name)
        answer: Assignment | None = await router.assign.remote(ticket, self._engine_id, self._settings.engine.ranks)
        return answer

    async def _ensure_gang(self) -> Gang:
        """The living gang; a dead one is replaced. A gang that will not start leaves the replica to Serve."""
        if self._gang is None or self._gang.fault is not None:
            self._state = "starting"
            if self._gang is not None:
                self._gang.close()
            try:
                self._gang = await Gang.start(self._settings, self._served)
            except EngineFault as error:
                self._broken = error
                raise
        self._state = "ready"
        return self._gang

    def _describe(self) -> EngineRecord:
        gang = self._gang
        return EngineRecord(
            engine_id=self._engine_id,
            world_size=self._settings.engine.ranks,
            preset=self._served.size.name,
            state=self._fitness.state(
                self._state if gang and gang.fault is None else "starting"
            ),  # no dead one is warm
            detail={
                "pid": os.getpid(),
                "rank_pids": gang.pids if gang else [],
                "attention": gang.report.attention if gang else {},
                "arithmetic": gang.report.arithmetic if gang else "",
                "cold_shapes": gang.cold_shapes if gang else 0,
                **self._fitness.report(),
            },
        )

    async def check_health(self) -> None:
        """Fails, so that Serve replaces the replica, when no gang could be started."""
        if self._broken is not None:
            raise self._broken

    async def __del__(self) -> None:
        """Graceful stop: Serve has waited for the running tickets."""
        self._keeper.close()
        if self._gang is not None:
            self._gang.close()
        try:
            self._store.close()
        except StoreUnavailable as error:
            logger.warning("store not closed: %s", error)
