"""A ClipEngine in an actor of its own, with a gang of real rank actors, whose router is a script of the test."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from deployment.clip_engine import ClipEngine
from deployment.scheduler.limits import BatchLimits
from deployment.scheduler.values import GangPlan, GangState, RunningBatch, Start
from deployment.store.sqlite import SqliteStore
from hhray.blocks import Block
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import Settings, load_settings
from oldest_first import OldestFirst

SERVED = ServedModel(preset("pico"), native_share=Fraction(5, 14))  # few tokens
NUM_STEPS = 8
LEFT, RIGHT, ALL = Block(0, 2), Block(2, 2), Block(0, 4)
Planner = Callable[[GangState], GangPlan]


class Keeping:
    """Pauses every batch once at its last boundary, to keep the file with its latents, then has it go on."""

    def __init__(self, scratch: Path, kept: Path) -> None:
        self.scratch, self.kept = scratch, kept
        self.done: set[str] = set()

    def is_at_end(self, batch: RunningBatch) -> bool:
        return not batch.busy and batch.units_done == NUM_STEPS and batch.batch_id not in self.done

    def at_end(self, batch: RunningBatch, home: Block) -> Block | None:
        """Where a batch goes on that is at a boundary or paused: at home, once its latents are kept."""
        if batch.block is None and batch.units_done == NUM_STEPS and batch.batch_id not in self.done:
            return home if self.keep(batch) else None
        return None if self.is_at_end(batch) else home

    def keep(self, batch: RunningBatch) -> bool:
        """Of a paused batch: whether its file is there, and kept."""
        path = self.scratch / f"{batch.batch_id}.paused"
        if not path.exists():
            return False
        shutil.copy(path, self.kept / f"{'+'.join(batch.task_ids)}.safetensors")
        self.done.add(batch.batch_id)
        return True


class Squeeze(Keeping):
    """Two long clips on halves; a third one takes a rank of the first, which gets it back afterwards."""

    def __init__(self, scratch: Path, kept: Path, names: tuple[str, str, str]) -> None:
        super().__init__(scratch, kept)
        self.first, self.second, self.third = names
        self.has_begun = self.has_third = False

    def __call__(self, state: GangState) -> GangPlan:
        batches = {one.task_ids[0]: one for one in state.batches}
        blocks: dict[str, Block | None] = {}
        if not self.has_begun:
            self.has_begun = len(state.tickets or ()) >= 4
            starts = (Start((self.first,), "b", LEFT), Start((self.second,), "b", RIGHT))
            return GangPlan(starts if self.has_begun else (), waiting=4)
        for name, home in ((self.second, RIGHT), (self.third, Block(1, 1))):
            if (batch := batches.get(name)) and not batch.busy:
                blocks[batch.batch_id] = self.at_end(batch, home)
        starts, because = (), ""
        if (batch := batches.get(self.first)) and not batch.busy:
            if not self.has_third and batch.units_done >= 2:
                self.has_third, because = True, "demoted"
                blocks[batch.batch_id], starts = Block(0, 1), (Start((self.third,), "b", Block(1, 1)),)
            elif self.has_third and self.third in batches:  # its rank comes back when the third has ended
                blocks[batch.batch_id] = None if batch.units_done >= NUM_STEPS - 4 else batch.block
            elif self.has_third and batch.units_done < NUM_STEPS and batch.block != LEFT:
                because = "promoted" if batch.block else "resumed"
                blocks[batch.batch_id] = LEFT if batch.block else Block(0, 1)
            else:
                blocks[batch.batch_id] = self.at_end(batch, LEFT)
        waiting = 9 if batches or starts else 0  # a ticket is kept, so that every boundary asks
        return GangPlan(starts, blocks, {batch.batch_id: because} if batch and because else {}, waiting)


class Packing(Keeping):
    """The plain scheduler on a gang, at most so many clips a batch."""

    def __init__(self, scratch: Path, kept: Path, database: Path, most: int) -> None:
        super().__init__(scratch, kept)
        self.database, self.most = database, most

    def __call__(self, state: GangState) -> GangPlan:
        scheduler = OldestFirst(BatchLimits(SERVED, self.most, 100_000))
        store = SqliteStore(self.database)
        scheduler.add(store.queued(0))
        store.close()
        unkept = {one.batch_id for one in state.batches if one.block is None and not self.keep(one)}
        shown = tuple(one for one in state.batches if one.batch_id not in unkept)
        plan = scheduler.plan(replace(state, batches=shown, tickets=() if unkept else state.tickets), 0.0)
        blocks = {**plan.blocks, **{one.batch_id: None for one in shown if self.is_at_end(one)}}
        return replace(plan, blocks=blocks, waiting=9 if state.batches or plan.starts else 0)


class Killing:
    """Clips on both halves and one that is paused; then rank 3 is killed. What comes back runs on all ranks."""

    def __init__(self, names: list[str]) -> None:
        self.paused, self.left, self.right = names
        self.again = names[1:]
        self.pids: list[int] = []
        self.is_killed = False

    def __call__(self, state: GangState) -> GangPlan:
        batches = {one.task_ids[0]: one for one in state.batches}
        standing = {one.batch_id: one.block for one in state.batches if not one.busy}
        if self.is_killed:
            return self._after(state, standing)
        if not batches:
            return GangPlan((Start((self.paused,), "b", LEFT),), waiting=9)
        if (first := batches[self.paused]).block and not first.busy and first.units_done >= 2:
            starts = (Start((self.left,), "b", LEFT), Start((self.right,), "b", RIGHT))
            return GangPlan(starts, {first.batch_id: None}, {first.batch_id: "paused"}, waiting=9)
        if {self.left, self.right} <= batches.keys():
            self.is_killed = all(batches[name].units_done for name in (self.left, self.right))
        if self.is_killed:
            os.kill(self.pids[3], signal.SIGKILL)
        return GangPlan((), standing, waiting=9)

    def _after(self, state: GangState, standing: dict[str, Block | None]) -> GangPlan:
        """One after another, the paused one first."""
        if any(one.block for one in state.batches):
            return GangPlan((), standing, waiting=9)
        if standing:
            return GangPlan((), dict.fromkeys(standing, ALL), waiting=9)
        starts = (Start((self.again.pop(0),), "b", ALL),) if self.again else ()
        return GangPlan(starts, waiting=len(starts))


class HostedEngine(ClipEngine):
    """Asks the script; stopped by the test, as Serve does it."""

    planner: Planner

    async def _ask_router(self, ticket: str | None, state: GangState) -> GangPlan:
        return self.planner(state)

    def __del__(self) -> None:  # type: ignore[override]
        pass


class EngineHost:
    """The actor."""

    async def start(self, overrides: dict[str, Any]) -> None:
        settings: Settings = load_settings(overrides=overrides)
        self.engine = HostedEngine.__new__(HostedEngine)
        await self.engine.__init__(settings, SERVED)  # type: ignore[misc]

    async def run(self, planner: Planner, tickets: int) -> tuple[list[str], float]:
        """Outcomes of tickets, so many of which are out until nothing is left to do; the seconds it took."""
        if isinstance(planner, Killing):
            planner.pids = self.engine._living_gang().pids
        self.engine.planner = planner
        began = time.monotonic()
        outcomes = await asyncio.gather(*(self._redeem(number) for number in range(tickets)))
        return [one for some in outcomes for one in some], time.monotonic() - began

    async def _redeem(self, number: int) -> list[str]:
        """One ticket after another: an engine gives back what it has no use for in a moment."""
        outcomes: list[str] = []
        while True:
            outcomes.append(await self.engine.run_next(f"{number}/{len(outcomes)}"))
            depth = await asyncio.to_thread(self.engine._store.depth)
            if not depth.queued + depth.running:
                return outcomes
            await asyncio.sleep(0.05)

    async def detail(self) -> dict[str, Any]:
        """The engine's heartbeat."""
        return self.engine._describe().detail

    async def stop(self) -> None:
        await ClipEngine.__del__(self.engine)
