"""Router: the only brain. It keeps tickets waiting on the engines, and plans what each engine's gang does.

Its memory is an index of the queue, rebuilt from the store; a dead router loses nothing. It also turns the store's
clockwork: reaping lost leases, folding metric events, removing what has expired.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

import ray
from ray.serve.handle import DeploymentHandle

from deployment.artifacts import open_artifacts
from deployment.cost_keeper import CostKeeper
from deployment.fitness import fresh_seconds
from deployment.janitor import Janitor
from deployment.keys import server_secret
from deployment.scheduler.limits import BatchLimits
from deployment.scheduler.policy import Policy
from deployment.scheduler.scheduler import Scheduler
from deployment.scheduler.values import GangPlan, GangState, Measurement
from deployment.store import open_store
from deployment.work_meter import work_meter
from hhray.errors import ConfigError, StoreUnavailable
from hhray.served_model import ServedModel
from hhray.settings import Settings

logger = logging.getLogger("ray.serve")
FOLD_SECONDS = 5.0
EXPIRE_SECONDS = 60.0
# A full comparison with the store reads the whole queue: seconds where 100,000 tasks wait.
RECONCILE_SHARE = 0.2
LISTEN_SECONDS = 2.0


def check_store_fits(settings: Settings, num_nodes: int) -> None:
    """Refuse SQLite on more than one node: the file is one machine's.

    Raises:
        ConfigError: the cluster has several nodes.
    """
    if num_nodes > 1 and not settings.store.url.get_secret_value():
        raise ConfigError(
            f"the task store is SQLite, a file of one machine, but the Ray cluster has {num_nodes} nodes; "
            "run hhray on a single-node cluster, or name a PostgreSQL database in store.url"
        )


def policy_of(settings: Settings) -> Policy:
    """The scheduler's policy for these tenants. Deterministic clips run on the whole gang, so that the degree is the
    same each time."""
    tenants, default = settings.tenants, settings.default_tenant
    return Policy(
        weights={name: one.weight for name, one in tenants.items()},
        default_weight=default.weight,
        most_running={name: one.max_running for name, one in tenants.items()},
        default_most_running=default.max_running,
        reserved={name: one.reserved for name, one in tenants.items() if one.reserved},
        deterministic_degree=settings.engine.ranks,
    )


class Router:
    """One replica; engines are reached through `engines`, the handle tickets wait on."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: Settings, served: ServedModel, engines: DeploymentHandle
    ) -> None:
        check_store_fits(settings, sum(1 for node in ray.nodes() if node["Alive"]))
        self._settings = settings
        self._engines = engines
        self._store = open_store(settings)
        artifacts = open_artifacts(settings, server_secret(settings))
        self._janitor = Janitor(self._store, artifacts, settings.store, settings.uploads.ttl_seconds)
        self._costs = CostKeeper(self._store, settings.cost_model(served), settings.store.cluster)
        self._scheduler = Scheduler(
            self._costs.unit_costs,
            policy_of(settings),
            BatchLimits(served, settings.engine.max_batch, settings.engine.max_batch_tokens),
        )
        self._engine_ids: set[str] = set()
        self._last_sequence = 0
        self._meter = work_meter(self._store, settings)
        # Without engines no ticket waits for one: Serve would wake a single engine for it, whatever the work asks for.
        self._least_engines = min(1, settings.engine_bounds[0])
        self._num_engines = self._least_engines
        self._waiting: set[str] = set()
        self._tickets: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        router = settings.router
        # A database may tell of tasks that another cluster's ingress took in; within a cluster `kick` is quicker.
        listening = [self._listen()] if settings.store.url.get_secret_value() else []
        self._loops = [
            asyncio.create_task(loop)
            for loop in (
                *listening,
                self._dispatch(),
                self._keep_costs(),
                self._every(router.reconcile_seconds, self._reconcile, RECONCILE_SHARE),
                self._every(min(1.0, settings.store.lease_seconds / 4), self._reap),
                self._every(FOLD_SECONDS, self._fold),
                self._every(EXPIRE_SECONDS, self._expire),
                self._every(settings.autoscaling.interval_seconds, self._measure),
            )
        ]

    async def kick(self) -> None:
        """A hint that a task became claimable."""
        self._wake.set()

    async def plan(self, ticket: str | None, state: GangState) -> GangPlan:
        """What a gang shall do now: asked when a ticket came, when a batch ended and at boundaries after that.

        `ticket` is what came since the engine's last question. Tickets of `state` that starts use wait no more.
        """
        if ticket is not None and not len(self._scheduler):
            await self._refresh()  # a task may have come that nobody hinted at
        plan = self._scheduler.plan(state, time.time())
        self._waiting.difference_update((state.tickets or ())[: len(plan.starts)])
        if plan.starts:
            self._wake.set()  # tickets were used: others may go out
        for start in plan.starts:
            logger.info("%s gets %d of %s on %s", state.engine_id, len(start.task_ids), start.bucket, start.block)
        for batch_id, why in plan.because.items():
            logger.info("%s: batch %s is %s", state.engine_id, batch_id, why)
        return replace(plan, waiting=len(self._scheduler))

    async def learn(self, measured: list[Measurement]) -> None:
        """Commands of an engine as they were measured: they correct the cost model."""
        for one in measured:
            units = range(one.first, one.first + one.units)
            self._costs.observe(one.bucket, units, one.degree, one.items, one.seconds, cold=one.cold)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The work there is, in GPU-seconds, for the autoscaling policy: see deployment.autoscaling.Signals."""
        return self._meter.stats()

    async def check_health(self) -> None:
        """Fails when one of the router's loops has ended."""
        for loop in self._loops:
            if loop.done():
                raise RuntimeError("a loop of the router ended") from (
                    loop.exception() if not loop.cancelled() else None
                )

    # --- tickets

    async def _dispatch(self) -> None:
        """Keep tickets waiting on the engines while there is work; woken by hints, else by the clock."""
        while True:
            try:
                await self._refresh()
            except StoreUnavailable as error:
                logger.warning("queue not read, trying again: %s", error)
            while len(self._scheduler) and len(self._waiting) < self._most_tickets:
                self._issue_ticket()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.router.poll_seconds):
                    await self._wake.wait()
            self._wake.clear()

    @property
    def _most_tickets(self) -> int:
        """One for each rank of every engine: an idle one must hear of work that the others have no room for."""
        return max(self._settings.router.tickets_per_engine, self._settings.engine.ranks) * self._num_engines

    def _issue_ticket(self) -> None:
        ticket = str(uuid.uuid4())
        self._waiting.add(ticket)
        task = asyncio.create_task(self._follow(ticket))
        self._tickets.add(task)
        task.add_done_callback(self._tickets.discard)

    async def _follow(self, ticket: str) -> None:
        """One ticket: waits on the engines' handle until an engine accepts it, then until its clips end."""
        outcome = "lost"
        try:
            outcome = await self._engines.run_next.remote(ticket)
        except Exception as error:  # noqa: BLE001 - whatever ends a ticket, the tasks are safe in the store
            logger.warning("ticket lost: %s", type(error).__name__)
        if outcome in ("refused", "lost"):
            # Its place is given back, but not at once, or an engine that refuses makes a busy loop.
            await asyncio.sleep(self._settings.router.poll_seconds)
        self._waiting.discard(ticket)
        self._wake.set()

    # --- the store's clockwork

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]], share: float = 1.0) -> None:
        """Do this at an interval, for at most this share of the time."""
        while True:
            began = time.monotonic()
            try:
                await work()
            except StoreUnavailable as error:
                logger.warning("store not available, trying again: %s", error)
            took = time.monotonic() - began
            await asyncio.sleep(max(seconds, took / share - took))

    async def _listen(self) -> None:
        """Wake up when the database says that a task became claimable."""
        seen = 0
        while True:
            try:
                last = await asyncio.to_thread(self._store.wait_for_work, seen, LISTEN_SECONDS)
            except StoreUnavailable as error:
                logger.warning("not listening to the store, trying again: %s", error)
                await asyncio.sleep(LISTEN_SECONDS)
            else:
                if last > seen:
                    seen = last
                    self._wake.set()

    async def _keep_costs(self) -> None:
        """Go on from the corrections in the store, then write there what changes."""
        known = False
        while True:
            try:
                if not known:
                    await self._costs.restore()
                    known = True
                await self._costs.save()
            except StoreUnavailable as error:
                logger.warning("corrections of costs not kept, trying again: %s", error)
            await asyncio.sleep(FOLD_SECONDS)

    async def _refresh(self) -> None:
        """Add what became claimable since the last look."""
        tasks = await asyncio.to_thread(self._store.queued, self._last_sequence)
        self._scheduler.add(tasks)
        self._last_sequence = max([self._last_sequence, *(task.sequence for task in tasks)])

    async def _reconcile(self) -> None:
        """Make the index what the store says: tasks assigned but never claimed come back, cancelled ones go."""
        tasks = await asyncio.to_thread(self._store.queued, 0)
        self._scheduler.replace(tasks)
        self._last_sequence = max([self._last_sequence, *(task.sequence for task in tasks)])
        fresh = await asyncio.to_thread(self._store.engines, fresh_seconds(self._settings))
        living = {engine.engine_id for engine in fresh}
        for engine_id in self._engine_ids - living:
            self._scheduler.forget(engine_id)
        self._engine_ids = living
        self._num_engines = max(self._least_engines, len(living))

    async def _reap(self) -> None:
        for task_id, state in await asyncio.to_thread(self._janitor.reap):
            logger.warning("task %s: lease ran out, now %s", task_id, state.value)
            self._wake.set()

    async def _measure(self) -> None:
        await asyncio.to_thread(self._meter.read)

    async def _fold(self) -> None:
        await asyncio.to_thread(self._store.fold)

    async def _expire(self) -> None:
        for task_id in await asyncio.to_thread(self._janitor.expire):
            logger.info("task %s: expired and removed", task_id)
        await asyncio.to_thread(self._janitor.collect)
