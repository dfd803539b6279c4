"""What an engine's gang runs, as plain values: the batches it has begun, their blocks, and who stands at a boundary.

The engine keeps one table and shows it to the router as a `GangState`. Ranks belong to the batches that are busy or
stand on them; a paused batch has none. Times are seconds of the caller's clock. No Ray, no clock, no waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from deployment.scheduler.values import GangPlan, GangState, RunningBatch, Start
from hhray.blocks import Block, aligned_blocks
from hhray.errors import EngineFault


class BatchTable:
    """Batches of a gang of `num_ranks` ranks."""

    def __init__(self, engine_id: str, num_ranks: int) -> None:
        self._engine_id, self._num_ranks = engine_id, num_ranks
        self._batches: dict[str, RunningBatch] = {}
        self._warm: set[str] = set()
        self.least_ranks: Mapping[str, int] = {}  # see GangState

    def __contains__(self, batch_id: str) -> bool:
        return batch_id in self._batches

    def __getitem__(self, batch_id: str) -> RunningBatch:
        return self._batches[batch_id]

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def num_clips(self) -> int:
        """Clips of all batches."""
        return self.clips_by_degree.total()

    @property
    def clips_by_degree(self) -> Counter[int]:
        """Clips on blocks of so many ranks; 0: paused."""
        counts: Counter[int] = Counter()
        for batch in tuple(self._batches.values()):
            counts[batch.block.num_ranks if batch.block else 0] += len(batch.task_ids)
        return counts

    @property
    def paused(self) -> tuple[str, ...]:
        """Batches without ranks, the longest there first."""
        return tuple(batch.batch_id for batch in self._batches.values() if batch.block is None)

    def state(self, tickets: tuple[str, ...] = ()) -> GangState:
        """What the router is asked with."""
        batches = tuple(self._batches.values())
        return GangState(self._engine_id, self._num_ranks, batches, frozenset(self._warm), tickets, self.least_ranks)

    def enter(self, batch: RunningBatch) -> None:
        """A batch takes its block.

        Raises:
            EngineFault: another has some of these ranks, or the name is taken.
        """
        if batch.batch_id in self._batches:
            raise EngineFault(f"batch {batch.batch_id} is in the table already; this is a fault of the caller")
        self._check_free(batch.batch_id, batch.block)
        self._batches[batch.batch_id] = batch
        self._warm |= {batch.bucket} - {""}

    def cool(self) -> None:
        """Another gang takes the place of the one that was: it has run nothing yet."""
        self._warm.clear()

    def rename(self, batch_id: str, batch: RunningBatch) -> None:
        """Another batch in the place of one that was not begun: what was won of the tasks that were to be claimed."""
        del self._batches[batch_id]
        self.enter(batch)

    def leave(self, batch_id: str) -> None:
        """A batch needs no ranks any more."""
        self._batches.pop(batch_id, None)

    def stand(self, batch_id: str, units_done: int) -> None:
        """A batch reaches a boundary and keeps its ranks until it is told where to go on."""
        self._batches[batch_id] = replace(self._batches[batch_id], units_done=units_done, busy=False)

    def run(self, batch_id: str, units_done: int, free_at: float) -> None:
        """A batch has done so many units, and what it was told to do next ends at about `free_at`."""
        batch = self._batches[batch_id]
        self._batches[batch_id] = replace(batch, units_done=units_done, free_at=free_at, busy=True)

    def obey(self, plan: GangPlan, asked: Collection[str]) -> str:
        """Put the batches `asked`, which stand or are paused, where a plan says: those it does not name stay as they
        are. All at once, or none: returns why it cannot be obeyed, empty if it was."""
        blocks = {name: plan.blocks.get(name, self._batches[name].block) for name in asked}
        if reason := self._misfit(blocks, plan.starts):
            return reason
        for name, block in blocks.items():
            batch = self._batches[name]
            pauses = batch.pauses + (block is None and batch.block is not None)
            self._batches[name] = replace(batch, block=block, busy=block is not None, pauses=pauses)
        return ""

    def free_block(self, taken: Iterable[Block] = ()) -> Block | None:
        """The largest aligned block without a batch and outside `taken`; None: there is none."""
        held = (batch.block for batch in self._batches.values() if batch.block is not None)
        used = {rank for block in (*taken, *held) for rank in block.ranks}
        return next((block for block in aligned_blocks(self._num_ranks) if not used & set(block.ranks)), None)

    def start(self, start: Start) -> str:
        """Hold a block for tasks that are about to be claimed; returns the name to `rename` or `leave` it by."""
        name = f"claiming for ranks {start.block}"
        self.enter(RunningBatch(name, start.task_ids, start.bucket, 0, start.block, busy=True))
        return name

    def _misfit(self, blocks: Mapping[str, Block | None], starts: Sequence[Start]) -> str:
        used: dict[int, str] = {}
        rest = {name: batch.block for name, batch in self._batches.items() if name not in blocks}
        for name, block in (*rest.items(), *blocks.items(), *((f"new {one.bucket}", one.block) for one in starts)):
            if block is None:
                continue
            if block not in aligned_blocks(self._num_ranks):
                return f"{name} is to be on ranks {block}, which a gang of {self._num_ranks} ranks has not"
            for rank in block.ranks:
                if rank in used:
                    return f"rank {rank} is to run both {used[rank]} and {name}"
                used[rank] = name
        for name, block in blocks.items():
            if self._batches[name].pinned and block != self._batches[name].block:
                return f"batch {name} is pinned to ranks {self._batches[name].block}"
        return ""

    def _check_free(self, batch_id: str, block: Block | None) -> None:
        for other in self._batches.values():
            if other.block is not None and block is not None and set(other.block.ranks) & set(block.ranks):
                raise EngineFault(
                    f"batch {batch_id} is to run on ranks {block}, but {other.batch_id} has {other.block}"
                )
