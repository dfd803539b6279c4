"""Plans are obeyed at boundaries, and nothing waits for ever: random plans, lost claims, a router that goes away."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from deployment import boundaries as module
from deployment.batch_table import BatchTable
from deployment.boundaries import Boundaries, Ticket
from deployment.scheduler.values import GangPlan, GangState, RunningBatch, Start
from hhray.blocks import Block, aligned_blocks
from hhray.errors import EngineFault

PATIENCE = 30  # seconds, on a busy machine
NUM_TASKS, NUM_UNITS = 14, 5


class Chaos:
    """A router that plans at random, and batches that do as they are told; `chance` decides everything."""

    def __init__(self, seed: int, num_ranks: int, *, faulty: bool) -> None:
        self.chance, self.num_ranks, self.faulty = random.Random(seed), num_ranks, faulty
        self.waiting = [f"task{number}" for number in range(NUM_TASKS)]  # in the store
        self.queue = list(self.waiting)  # as the router sees it
        self.ended: Counter[str] = Counter()
        self.moves: Counter[str] = Counter()
        self.tasks: set[asyncio.Task[None]] = set()
        table = BatchTable("engine", num_ranks)
        self.boundaries = Boundaries(table, self.plan, self.ready, self.start, 0.01, 0.05)

    async def ready(self) -> None:
        await asyncio.sleep(0)

    async def plan(self, ticket: str | None, state: GangState) -> GangPlan:
        assert_disjoint(state)
        await asyncio.sleep(self.chance.choice((0, 0, 0.001)))
        fate = self.chance.random() if self.faulty else 1.0
        if fate < 0.05:
            raise ConnectionError
        if fate < 0.08:
            await asyncio.sleep(1)  # longer than anybody waits
        if fate < 0.15:
            return GangPlan(blocks={one.batch_id: Block(0, 1) for one in state.batches}, waiting=len(self.queue))
        return self._random_plan(state)

    def _random_plan(self, state: GangState) -> GangPlan:
        free = set(range(self.num_ranks))
        for one in state.batches:
            if one.busy and one.block:
                free -= set(one.block.ranks)
        blocks: dict[str, Block | None] = {}
        open_batches = [one for one in state.batches if not one.busy]
        for one in open_batches if self.chance.random() < 0.5 else open_batches[::-1]:
            fits: list[Block | None] = [b for b in aligned_blocks(self.num_ranks) if free.issuperset(b.ranks)]
            block = self.chance.choice([*fits, None]) if one.pauses < 4 or not fits else self.chance.choice(fits)
            blocks[one.batch_id] = block
            free -= set(block.ranks) if block else set()
        starts = []
        for _ in state.tickets or ():
            room = [b for b in aligned_blocks(self.num_ranks) if free.issuperset(b.ranks)]
            if room and self.queue and self.chance.random() < 0.8:
                block = self.chance.choice(room)
                free -= set(block.ranks)
                names, self.queue = self.queue[:2], self.queue[2:]
                starts.append(Start(tuple(names), "bucket", block))
        return GangPlan(tuple(starts), blocks, waiting=len(self.queue))

    def start(self, start: Start, name: str, ticket: Ticket) -> None:
        self.tasks.add(asyncio.create_task(self._run(start, name, ticket)))

    async def _run(self, start: Start, name: str, ticket: Ticket) -> None:
        await asyncio.sleep(self.chance.choice((0, 0.001)))
        if self.waiting and self.chance.random() < 0.2:
            self.ended[self.waiting.pop(0)] += 1  # another engine was faster
        won = [task for task in start.task_ids or self.waiting[:1] if task in self.waiting]
        self.waiting = [task for task in self.waiting if task not in won]
        if not won:
            self.boundaries.unclaimed(name, ticket, nothing_waits=not start.task_ids)
            return
        batch_id = won[0]
        self.boundaries.claimed(name, RunningBatch(batch_id, tuple(won), "bucket", 0, start.block, busy=True))
        try:
            await self._make(batch_id)
        finally:
            self.boundaries.leave(batch_id)
        self.ended.update(won)
        ticket.close("done")

    async def _make(self, batch_id: str) -> None:
        for unit in range(NUM_UNITS):
            self.boundaries.going_on(batch_id, unit, 0.001)
            await asyncio.sleep(self.chance.choice((0, 0, 0.001)))
            if not self.boundaries.is_asked(batch_id):
                continue
            block = await self.boundaries.stand(batch_id, unit + 1)
            self.moves["paused" if block is None else "told"] += 1
            while block is None:
                block = await self.boundaries.resumption(batch_id, 0.005)

    async def run(self) -> list[str]:
        """Two tickets wait as long as there is work, as the router would have it."""
        outcomes: list[str] = []

        async def hold_tickets(number: int) -> None:
            while self.waiting:
                outcomes.append(await self.boundaries.redeem(f"ticket{number}.{len(outcomes)}"))
                self.queue = list(self.waiting)  # reconciled with the store
                await asyncio.sleep(0)

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(hold_tickets(number) for number in range(self.num_ranks + 1)))
            await asyncio.gather(*self.tasks)
        self.boundaries.close()
        return outcomes


def assert_disjoint(state: GangState) -> None:
    ranks = [rank for one in state.batches if one.block for rank in one.block.ranks]
    assert len(ranks) == len(set(ranks)), state


@pytest.mark.parametrize("faulty", [False, True])
@pytest.mark.parametrize("num_ranks", [1, 2, 4, 8])
def test_every_task_ends_once_whatever_the_router_plans(
    monkeypatch: pytest.MonkeyPatch, num_ranks: int, faulty: bool
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.02)
    moves: Counter[str] = Counter()
    for seed in range(8):

        async def scenario(seed: int = seed) -> Chaos:
            chaos = Chaos(seed, num_ranks, faulty=faulty)
            await chaos.run()
            return chaos

        chaos = asyncio.run(scenario())
        assert chaos.ended == Counter({f"task{number}": 1 for number in range(NUM_TASKS)}), seed
        moves += chaos.moves
    assert moves["paused"] > 10, "plans did pause batches"


def batch(name: str, block: Block | None, **fields: object) -> RunningBatch:
    return RunningBatch(name, (name,), "bucket", 0, block, busy=True, **fields)  # type: ignore[arg-type]


def test_a_plan_that_does_not_fit_is_refused_as_a_whole() -> None:
    table = BatchTable("engine", 4)
    for one in (batch("a", Block(0, 2)), batch("b", Block(2, 1)), batch("pinned", Block(3, 1), pinned=True)):
        table.enter(one)
    for name in ("a", "pinned"):
        table.stand(name, 1)
    before = table.state()
    for plan, reason in (
        (GangPlan(blocks={"a": Block(0, 4)}), "rank 2 is to run both b and a"),
        (GangPlan((Start(("t",), "s", Block(1, 1)),)), "rank 1 is to run both a and new s"),
        (GangPlan(blocks={"a": Block(4, 2)}), "a is to be on ranks 4-5, which a gang of 4 ranks has not"),
        (GangPlan(blocks={"pinned": None}), "batch pinned is pinned to ranks 3"),
    ):
        assert table.obey(plan, {"a", "pinned"}) == reason
        assert table.state() == before
    assert table.obey(GangPlan((Start(("t",), "s", Block(1, 1)),), {"a": Block(0, 1)}), {"a"}) == ""
    assert table["a"].block == Block(0, 1)
    assert table.free_block() == Block(1, 1)
    with pytest.raises(EngineFault, match="is to run on ranks 2-3, but b has 2"):
        table.enter(batch("c", Block(2, 2)))


def test_batches_change_places_in_one_plan() -> None:
    table = BatchTable("engine", 2)
    for one in (batch("a", Block(0, 1)), batch("b", Block(1, 1))):
        table.enter(one)
        table.stand(one.batch_id, 1)
    assert table.obey(GangPlan(blocks={"a": Block(1, 1), "b": Block(0, 1)}), {"a", "b"}) == ""
    assert (table["a"].block, table["b"].block) == (Block(1, 1), Block(0, 1))


def test_a_router_that_hangs_is_not_waited_for_at_every_boundary() -> None:
    asked = []

    async def hang(_ticket: str | None, state: GangState) -> GangPlan:
        asked.append(state)
        await asyncio.sleep(PATIENCE)
        return GangPlan()

    async def scenario() -> None:
        started: list[Ticket] = []
        chaos = Chaos(0, 2, faulty=False)
        chaos.boundaries.close()
        boundaries = Boundaries(
            BatchTable("engine", 2), hang, chaos.ready, lambda _start, _name, ticket: started.append(ticket), 0.01, 0.02
        )
        ticket = asyncio.ensure_future(boundaries.redeem("ticket"))
        while not started:
            await asyncio.sleep(0.005)
        boundaries.unclaimed("claiming for ranks 0-1", started.pop(), nothing_waits=False)
        while not started:
            await asyncio.sleep(0.005)
        assert len(asked) == 1, "asked once, then the oldest task is claimed without it"
        started.pop().close("done")
        assert await ticket == "done"
        boundaries.close()

    asyncio.run(scenario())
