"""Boundaries of an engine's batches: who goes on at once, who stands, and the loop that asks the router for them all.

A batch goes on from unit to unit by itself. Only when something changed since it was last asked about (a ticket came,
a batch ended, one is paused) does it stand at its next boundary until the loop has asked the router once for all that
stand, and obeyed. Without a router running batches go on where they are, paused ones go on on free ranks, and the
oldest tasks are started on what is left: nothing ever waits for an answer that does not come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from deployment.batch_table import BatchTable
from deployment.scheduler.values import GangPlan, GangState, RunningBatch, Start
from hhray.blocks import Block
from hhray.errors import EngineFault

logger = logging.getLogger("ray.serve")
AWAY_SECONDS = 5.0  # a router that did not answer is not asked again for so long
# A ticket that nothing was begun for goes back after so long: Serve sends the next one to an engine that is not about
# to stop, which is all that an engine hears of a stop.
TICKET_SECONDS = 2.0

AskRouter = Callable[[str | None, GangState], Awaitable[GangPlan]]


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket; the future is what its `run_next` waits for."""

    name: str
    outcome: asyncio.Future[str]
    since: float = field(default_factory=time.monotonic)

    def close(self, outcome: str) -> None:
        """Return it to the router."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Boundaries:
    """Tickets and boundaries of one gang.

    Args:
        table: what the gang runs; nobody else writes to it.
        ask: asks the router; any exception means that it is away.
        ready: makes sure that the gang lives.
        start: claims a start's tasks (the oldest if it names none) and runs them; leads to `claimed` or `unclaimed`.
        poll_seconds: while tickets or paused batches wait, the router is asked at least so often.
        timeout_seconds: a router that takes longer is away.
    """

    def __init__(
        self,
        table: BatchTable,
        ask: AskRouter,
        ready: Callable[[], Awaitable[object]],
        start: Callable[[Start, str, Ticket], None],
        poll_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._table, self._ask, self._ready, self._start = table, ask, ready, start
        self._poll_seconds, self._timeout_seconds = poll_seconds, timeout_seconds
        self._tickets: list[Ticket] = []
        self._new_ticket: str | None = None
        self._decisions: dict[str, asyncio.Future[Block | None]] = {}
        self._epoch = 0
        self._seen: dict[str, int] = {}
        self._away_until = 0.0
        self._wake = asyncio.Event()
        self.preemptions: Counter[str] = Counter()
        self.loop = asyncio.ensure_future(self._run())

    # --- tickets

    async def redeem(self, name: str) -> str:
        """Hold a ticket until a batch that it was used for ended, or nothing waits: "done", "empty" or "refused"."""
        ticket = Ticket(name, asyncio.get_running_loop().create_future())
        self._new_ticket = name
        self._return(ticket)
        return await ticket.outcome

    def refuse(self) -> None:
        """Return the tickets that no batch was begun for."""
        while self._tickets:
            self._tickets.pop().close("refused")

    def claimed(self, name: str, batch: RunningBatch) -> None:
        """The tasks of a start were claimed, all or some, and begin as this batch."""
        self._table.rename(name, batch)
        self._seen[batch.batch_id] = self._epoch

    def unclaimed(self, name: str, ticket: Ticket, *, nothing_waits: bool) -> None:
        """The tasks of a start were gone: others were faster."""
        self._table.leave(name)
        if nothing_waits:
            ticket.close("empty")
            self.change()
        else:
            self._return(ticket)

    # --- batches

    def is_asked(self, batch_id: str) -> bool:
        """Whether a batch is to stand at its next boundary."""
        return self._seen[batch_id] < self._epoch or bool(self._tickets or self._table.paused)

    def going_on(self, batch_id: str, units_done: int, seconds: float) -> None:
        """A batch went on by itself; what was sent takes about `seconds`."""
        self._table.run(batch_id, units_done, time.time() + seconds)

    async def stand(self, batch_id: str, units_done: int) -> Block | None:
        """At a boundary: the block to go on on; None: it is to be paused, and `resumption` says when it goes on."""
        self._table.stand(batch_id, units_done)
        decision: asyncio.Future[Block | None] = asyncio.get_running_loop().create_future()
        self._decisions[batch_id] = decision
        self._wake.set()
        return await decision

    async def resumption(self, batch_id: str, seconds: float) -> Block | None:
        """Wait at most so long for the block on which a paused batch goes on; None: not yet."""
        decision = self._decisions[batch_id]
        await asyncio.wait([decision], timeout=seconds)
        block: Block | None = decision.result() if decision.done() else None
        return block

    def leave(self, batch_id: str) -> None:
        """A batch needs no ranks any more."""
        self._decisions.pop(batch_id, None)
        self._seen.pop(batch_id, None)
        self._table.leave(batch_id)
        self.change()

    def change(self) -> None:
        """Something changed: every batch is asked about at its next boundary."""
        self._epoch += 1
        self._wake.set()

    def close(self) -> None:
        """End the loop."""
        self.loop.cancel()

    # --- the loop

    async def _run(self) -> None:
        while True:
            waits = bool(self._tickets or self._table.paused)
            try:
                async with asyncio.timeout(self._poll_seconds if waits else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._ready()
            except EngineFault as error:
                self._fail(error)
            else:
                await self._round()
                self._return_old_tickets()

    async def _round(self) -> None:
        """Ask once for all that stand or are paused, and obey."""
        asked, tickets = self._open(), list(self._tickets)
        can_start = bool(tickets) and self._table.free_block() is not None
        if not asked and not can_start:
            return  # nothing that a plan could change now; the next boundary asks
        epoch = self._epoch
        plan = await self._plan(tickets)
        asked &= self._open()  # some may have been given up meanwhile, and tickets returned
        tickets = [ticket for ticket in tickets if ticket in self._tickets]
        paused = set(self._table.paused)
        if plan is not None and (misfit := self._table.obey(plan, asked)):
            logger.error("the router's plan cannot be obeyed: %s", misfit)
            plan = self._own_plan(asked, 0, len(tickets))
            self._table.obey(plan, asked)
        elif plan is None:
            plan = self._own_plan(asked, len(tickets), len(tickets))
            self._table.obey(plan, asked)
        for batch_id in asked:
            self._seen[batch_id] = epoch
            self._decide(batch_id, plan, was_paused=batch_id in paused)
        self._begin(plan, tickets)

    async def _plan(self, tickets: list[Ticket]) -> GangPlan | None:
        """The router's plan; None while it is away."""
        if time.monotonic() < self._away_until:
            return None
        newest, self._new_ticket = self._new_ticket, None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._ask(newest, self._table.state(tuple(ticket.name for ticket in tickets)))
        except Exception as error:  # noqa: BLE001 - any failure of the router must leave engines working
            logger.warning("router away (%s): going on without it", type(error).__name__)
            self._away_until = time.monotonic() + AWAY_SECONDS
            return None

    def _own_plan(self, asked: set[str], most_starts: int, waiting: int) -> GangPlan:
        """Who runs goes on, who is paused goes on on free ranks, the oldest tasks start on the rest."""
        blocks: dict[str, Block | None] = {}
        taken: list[Block] = []
        for batch_id in self._table.paused:
            block = self._table.free_block(taken)
            if batch_id in asked and block is not None:
                blocks[batch_id] = block
                taken.append(block)
        starts: list[Start] = []
        while len(starts) < most_starts and (block := self._table.free_block(taken)) is not None:
            starts.append(Start((), "", block))
            taken.append(block)
        return GangPlan(tuple(starts), blocks, waiting=waiting)

    def _begin(self, plan: GangPlan, tickets: list[Ticket]) -> None:
        """Use tickets for the starts, in order, and return those for which nothing waits."""
        for start in plan.starts:
            if not tickets:
                logger.error("a start without a ticket is left to others: %s", start.task_ids)
                continue
            ticket = tickets.pop(0)
            self._tickets.remove(ticket)
            self._start(start, self._table.start(start), ticket)
        for ticket in tickets[plan.waiting :]:
            self._tickets.remove(ticket)
            ticket.close("empty")

    def _decide(self, batch_id: str, plan: GangPlan, *, was_paused: bool) -> None:
        """Tell a batch what was decided; one that is paused now is told again when it goes on."""
        block, decision = self._table[batch_id].block, self._decisions[batch_id]
        if was_paused and block is None:
            return
        if reason := plan.because.get(batch_id):
            self.preemptions[reason] += 1
        if block is None:
            self._decisions[batch_id] = asyncio.get_running_loop().create_future()
        decision.set_result(block)

    def _return_old_tickets(self) -> None:
        oldest = time.monotonic() - TICKET_SECONDS
        for ticket in [ticket for ticket in self._tickets if ticket.since < oldest]:
            self._tickets.remove(ticket)
            ticket.close("empty")

    def _open(self) -> set[str]:
        """Batches that wait for a decision."""
        return {batch_id for batch_id, decision in self._decisions.items() if not decision.done()}

    def _return(self, ticket: Ticket) -> None:
        self._tickets.append(ticket)
        self.change()

    def _fail(self, error: EngineFault) -> None:
        """No gang can be started: tickets go back, paused batches end, and others find their own gang dead."""
        self.refuse()
        for batch_id in self._open():
            block = self._table[batch_id].block
            if block is None:
                self._decisions[batch_id].set_exception(error)
            else:
                self._decisions[batch_id].set_result(block)
