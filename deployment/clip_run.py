"""One batch of clips on a gang, from claim to publication: the main path of the server.

The coordinator drives the gang step by step. A command is at least one denoising step, at most about
`engine.command_seconds` of short ones, and only short ones are queued ahead. Between commands, and only there, a lost
lease, a cancel or a drain is seen, and the batch goes to another block or is paused if its seat says so. Stages follow
one another without a gap, so their seconds sum to the service time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from deployment.artifacts import ArtifactStore
from deployment.clip_job import job_of
from deployment.finishing import Finishing
from deployment.lease_keeper import Held, LeaseKeeper
from deployment.pace import Pace
from deployment.publication import Publication
from deployment.scheduler.values import Measurement
from deployment.seat import Seat
from deployment.store.base import Claim, TaskStore
from engine.messages import ClipJob, StepReport
from hhray.blocks import Block
from hhray.cost import CostModel, decode_chunks
from hhray.errors import ArtifactsUnavailable, ConfigError, EngineFault, HhrayError, RequestError
from hhray.prompting import Rewriter
from hhray.settings import Settings
from hhray.tasks import Progress, Stage, Task

logger = logging.getLogger("ray.serve")
LOOK_SECONDS = 0.25  # how often a paused batch looks whether it is still wanted


class Yielded(Exception):
    """The batch was given up between two commands: cancelled, drained or taken over."""


class ClipRun:
    """Runs the clips of `claims`, all of one shape, as one batch; every claim ends published, failed or released."""

    def __init__(
        self,
        claims: Sequence[Claim],
        *,
        seat: Seat,
        store: TaskStore,
        artifacts: ArtifactStore,
        keeper: LeaseKeeper,
        settings: Settings,
        cost: CostModel,
        rewriter: Rewriter | None = None,
        finishing: Finishing | None = None,
        observe: Callable[[Measurement], None] = lambda measurement: None,  # noqa: ARG005 - nobody learns from it
        weights: asyncio.Future[str] | None = None,
    ) -> None:
        self._weights = weights
        self._observe, self._bucket = observe, str(claims[0].task.request.shape_key)
        self._seat, self._gang, self._block = seat, seat.gang, seat.block
        self._ranks = set(self._block.ranks)  # a fault in another is not this batch's
        self._layout = [str(self._block)]  # the blocks it ran on, in order
        self._store, self._artifacts = store, artifacts
        self._keeper, self._settings, self._cost, self._rewriter = keeper, settings, cost, rewriter
        self._publication = Publication(store, artifacts, settings.engine)
        self._finishing = finishing or Finishing(settings, store)
        self._held = [keeper.hold(claim) for claim in claims]
        self._geometry = claims[0].task.request.geometry
        self._pace = Pace(cost, self._geometry, len(claims), settings.engine.command_seconds)
        self._done = 0  # steps
        self._jobs: tuple[ClipJob, ...] = ()
        self._inputs = ExitStack()  # local copies of media: as long as the batch, which may be resumed with them
        self._batch_id = f"{claims[0].task.task_id}.{claims[0].fence}"
        self._decode_seconds = cost.decode_seconds(self._geometry, len(claims))
        self._file_limit = self._limit(self._decode_seconds)
        self._state_file = settings.scratch_dir / f"{self._batch_id}.paused"
        self._written: list[tuple[Held, Path, str, dict[str, str]]] = []
        self._stages: dict[str, float] = {}
        self._stage: Stage | None = None
        self._entered = time.monotonic()

    async def make(self) -> bool:
        """All that needs the ranks: text, steps, decode. True: `deliver` must follow; False: the batch has ended.

        Raises:
            EngineFault: the gang is dead; the claims were released with the fault counted.
            RequestError: one of several requests cannot be run; the claims are still held by their owner.
        """
        logger.info("batch %s begins: %d clips on ranks %s", self._batch_id, len(self._held), self._block)
        made = False
        try:
            made = await self._attempt(self._text, self._denoise, self._decode)
            self._ranks = {self._block.first}
        finally:
            if not made:
                await self._close()
        return made

    async def deliver(self) -> None:
        """Wait for the files and publish them; the gang may make another batch meanwhile.

        Raises:
            EngineFault: as `make`.
            ArtifactsUnavailable, StoreUnavailable: as Publication.publish; what was not published is in the queue
                again, without blame, or will be when its lease runs out.
        """
        try:
            await self._attempt(self._mux, self._publish_all)
        finally:
            await self._close()

    async def run(self) -> None:
        """Run to the end: `make`, then `deliver`."""
        if await self.make():
            await self.deliver()

    async def _attempt(self, *stages: Callable[[], Awaitable[None]]) -> bool:
        """Run stages; False: the batch was given up or failed."""
        try:
            for stage in stages:
                await stage()
        except Yielded:
            await self._give_up()
        except RequestError as error:
            if len(self._held) > 1:
                raise
            await self._end_failed(error)
        except ConfigError as error:
            logger.error("batch %s does not fit its block: %s", self._batch_id, error)
            await self._release_all(str(error))
        except EngineFault as error:
            blamed = bool(self._ranks) and (not error.ranks or not self._ranks.isdisjoint(error.ranks))
            await self._release_all(str(error) if blamed else "")
            raise
        except ArtifactsUnavailable as error:
            logger.error("batch %s goes back to the queue, no task is to blame: %s", self._batch_id, error)
            await self._release_all("")
            raise
        else:
            return True
        return False

    async def _close(self) -> None:
        for held in self._held:
            self._keeper.drop(held)
        self._state_file.unlink(missing_ok=True)
        with suppress(ArtifactsUnavailable):  # what a failing scratch disk keeps is swept at the next start
            await asyncio.to_thread(self._inputs.close)
        if self._gang.fault is None:
            await self._gang.end(self._batch_id, self._limit(0.0))

    # --- stages

    async def _text(self) -> None:
        self._enter(Stage.TEXT)
        self._jobs = tuple([await asyncio.to_thread(self._job, held.claim.task) for held in self._held])
        self._seat.going_on(0, 0.0)
        await self._gang.begin(self._batch_id, self._jobs, self._block, self._limit(self._step_seconds))

    async def _denoise(self) -> None:
        """Make all steps; wherever the seat wants it, on another block from there on."""
        self._enter(Stage.DENOISE)
        while self._done < self._pace.num_steps:
            await self._run_commands()
            self._check_boundary()
            if self._seat.is_asked:
                await self._obey(await self._seat.boundary(self._done))

    async def _run_commands(self) -> None:
        """Send commands until all steps are done or the batch is asked about: one at least, short ones one ahead."""
        begun = sent = self._done
        queue: deque[asyncio.Future[StepReport]] = deque()
        try:
            while True:
                while sent < self._pace.num_steps and (sent == begun or self._may_send(sent, len(queue))):
                    count, ranks = self._pace.command(sent, self._block.num_ranks), self._block.num_ranks
                    seconds = self._pace.seconds(self._done, sent + count - self._done, ranks)
                    queue.append(self._gang.steps(self._batch_id, sent, count, self._limit(seconds)))
                    self._seat.going_on(self._done, seconds)
                    sent += count
                if not queue:
                    return
                self._note(await queue.popleft())
                self._check_boundary()
        finally:
            # A command already sent cannot be taken back: let it end, so that none runs beside what comes next.
            await asyncio.gather(*queue, return_exceptions=True)

    def _may_send(self, sent: int, num_queued: int) -> bool:
        """Whether another command goes out; long ones are never queued, so that each has a boundary after it."""
        if num_queued == 0 or self._seat.is_asked:
            return not self._seat.is_asked
        ranks = self._block.num_ranks
        return num_queued < 2 and self._pace.may_queue(sent, self._pace.command(sent, ranks), ranks)

    async def _obey(self, block: Block | None) -> None:
        """Go on on that block; None: pause, and go on later."""
        limit = self._limit(self._step_seconds)
        if block is None:
            await self._pause(limit)
        elif block != self._block:
            logger.info("batch %s moves from ranks %s to %s", self._batch_id, self._block, block)
            self._ranks = {*self._block.ranks, *block.ranks}
            await self._gang.move(self._batch_id, block, limit)
            self._block = block
        self._ranks = set(self._block.ranks)
        if self._layout[-1] != str(self._block):
            self._layout.append(str(self._block))

    async def _pause(self, limit: float) -> None:
        """Leave the ranks; what was made is kept, also if this gang dies meanwhile."""
        logger.info("batch %s pauses after %d steps", self._batch_id, self._done)
        if not await self._gang.pause(self._batch_id, self._state_file, limit):
            logger.error("batch %s cannot be kept on disk: it begins anew", self._batch_id)
            raise Yielded
        self._ranks = set()
        while (block := await self._seat.resumption(LOOK_SECONDS)) is None:
            self._check_boundary()
        logger.info("batch %s goes on on ranks %s", self._batch_id, block)
        self._gang, self._block, self._ranks = self._seat.gang, block, set(block.ranks)
        await self._gang.resume(self._batch_id, self._jobs, block, self._state_file, self._done, limit)

    async def _decode(self) -> None:
        """Decode every clip that is still wanted, and begin its file; stages are those of the whole batch."""
        self._enter(Stage.DECODE)
        self._seat.going_on(self._done, self._decode_seconds)
        for index, _ in self._wanted():
            began = time.monotonic()
            await self._gang.decode(self._batch_id, index, self._file_limit)
            self._learn(self._done, decode_chunks(self._geometry), 1, time.monotonic() - began)

    async def _mux(self) -> None:
        self._enter(Stage.MUX)
        for index, held in self._wanted():
            name = f"{held.claim.task.task_id}.{held.claim.fence}.mp4"
            report = await self._gang.mux(self._batch_id, index, name, self._file_limit)
            logger.info("task %s encoded by %s", held.claim.task.task_id, report.encoder)
            facts = await self._finishing.finish(held.claim, report, self._stages_now)
            if facts is not None:
                self._written.append((held, Path(report.path), report.notice, facts))

    async def _publish_all(self) -> None:
        self._enter(Stage.PUBLISH)
        layout = f"ranks {' then '.join(self._layout)} of {self._settings.engine.ranks}"
        made = {"layout": layout, "weights": await asyncio.shield(self._weights) if self._weights else ""}
        for held, path, notice, facts in self._written:
            claim = held.claim
            if await self._publication.publish(claim, path, notice, self._stages_now, {**made, **facts}):
                seconds = _seconds(self._stages_now())
                logger.info("task %s attempt %d published: %s", claim.task.task_id, claim.fence, seconds)
            else:
                logger.warning("task %s attempt %d: lease lost, result dropped", claim.task.task_id, claim.fence)

    # --- ends other than publication

    async def _give_up(self) -> None:
        """Between commands: cancelled clips end CANCELED, the others go back to the queue, no fault counted."""
        for held in self._held:
            claim, task_id = held.claim, held.claim.task.task_id
            if held.lost:
                logger.warning("task %s attempt %d: lease lost, dropped", task_id, claim.fence)
            elif held.cancel_requested:
                stages = self._stages_now()
                await asyncio.to_thread(self._store.cancel_running, task_id, claim.owner, claim.fence, stages)
                logger.info("task %s attempt %d cancelled", task_id, claim.fence)
            else:
                await asyncio.to_thread(self._store.release, task_id, claim.owner, claim.fence)
                logger.info("task %s attempt %d released", task_id, claim.fence)

    async def _end_failed(self, error: HhrayError) -> None:
        claim = self._held[0].claim
        ids = (claim.task.task_id, claim.owner, claim.fence)
        await asyncio.to_thread(self._store.fail, *ids, error.code, error.message, self._stages_now())

    async def _release_all(self, fault: str) -> None:
        limit = self._settings.store.max_faults
        for held in self._held:
            claim = held.claim
            ids = (claim.task.task_id, claim.owner, claim.fence)
            await asyncio.to_thread(self._store.release, *ids, fault=fault, max_faults=limit)

    def _job(self, task: Task) -> ClipJob:
        return job_of(task, self._artifacts, self._inputs, self._rewriter)

    # --- clockwork

    def _enter(self, stage: Stage) -> None:
        """Close the running stage and open the next at the same instant."""
        self._stages = self._stages_now()
        self._stage, self._entered = stage, time.monotonic()
        for held in self._held:
            held.progress = Progress(held.progress.fraction, stage.value)

    def _stages_now(self) -> dict[str, float]:
        if self._stage is None:
            return {}
        return {**self._stages, self._stage.value: time.monotonic() - self._entered}

    def _wanted(self) -> list[tuple[int, Held]]:
        return [(i, held) for i, held in enumerate(self._held) if not held.lost]

    def _check_boundary(self) -> None:
        """Give the batch up when nobody wants it here any more: drain, or every clip lost, or one cancelled.

        One cancelled clip gives up the whole batch: the others restart without it, with the same seed.
        """
        every_lost = all(held.lost for held in self._held)
        if self._keeper.must_yield or every_lost or any(held.cancel_requested for held in self._held):
            raise Yielded

    @property
    def _step_seconds(self) -> float:
        return self._pace.seconds(min(self._done, self._pace.num_steps - 1), 1, self._block.num_ranks)

    def _limit(self, predicted_seconds: float) -> float:
        """Watchdog of a phase."""
        engine = self._settings.engine
        return max(engine.watchdog_floor_seconds, engine.watchdog_multiple * predicted_seconds)

    def _note(self, report: StepReport) -> None:
        """A command has ended."""
        self._done = report.first + report.count
        self._pace.measured(report.first, report.count, self._block.num_ranks, report.seconds)
        self._learn(report.first, report.count, len(self._held), report.seconds, cold=report.cold_shapes > 0)
        for held in self._held:
            held.progress = Progress(self._done / self._pace.num_steps, Stage.DENOISE.value)
        logger.info(
            "command %s steps %d..%d of %d in %.3f s, %d bytes exchanged by rank %d",
            self._batch_id,
            report.first + 1,
            self._done,
            self._pace.num_steps,
            report.seconds,
            report.bytes_exchanged,
            self._block.first,
        )

    def _learn(self, first: int, count: int, items: int, seconds: float, *, cold: bool = False) -> None:
        self._observe(Measurement(self._bucket, first, count, self._block.num_ranks, items, seconds, cold))


def _seconds(stages: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in stages.items())
