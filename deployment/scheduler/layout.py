"""Which aligned block a clip gets: a buddy allocator over the ranks of one gang that are free."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from hhray.blocks import Block, aligned_blocks


@lru_cache(maxsize=64)
def blocks_of(num_ranks: int) -> tuple[tuple[Block, int], ...]:
    """Every aligned block of a gang and its ranks as bits, the largest first."""
    return tuple((block, sum(1 << rank for rank in block.ranks)) for block in aligned_blocks(num_ranks))


class FreeRanks:
    """The ranks of a gang that nothing runs on, as bits."""

    __slots__ = ("_bits", "_num_ranks")

    def __init__(self, num_ranks: int, taken: Iterable[Block] = ()) -> None:
        self._num_ranks = num_ranks
        self._bits = (1 << num_ranks) - 1
        for block in taken:
            self.take(block)

    def __len__(self) -> int:
        return self._bits.bit_count()

    def take(self, block: Block) -> None:
        """These ranks are no longer free."""
        self._bits &= ~(((1 << block.num_ranks) - 1) << block.first)

    def around(self, block: Block, num_ranks: int) -> Block | None:
        """The block of so many ranks around one that is taken, if the gang has it and its other ranks are free."""
        first = block.first // num_ranks * num_ranks
        if first + num_ranks > self._num_ranks or block.first + block.num_ranks > first + num_ranks:
            return None
        bits = ((1 << num_ranks) - 1) << first
        own = ((1 << block.num_ranks) - 1) << block.first
        return Block(first, num_ranks) if self._bits & bits == bits & ~own else None

    def choose(self, most: int, own: Block | None, from_above: bool) -> Block | None:
        """The free block of at most `most` ranks that suits best: the widest; among those the one the clip is on or a
        part of it, then the one that breaks up the smallest free block, then the highest or lowest ranks.

        None when no rank is free.
        """
        best: tuple[int, int, int, int] | None = None
        chosen: Block | None = None
        for block, bits in blocks_of(self._num_ranks):
            size = block.num_ranks
            if size > most or self._bits & bits != bits:
                continue
            if best is not None and size < -best[0]:
                break
            near = own is not None and (block.first in own or own.first in block)
            rank = (-size, 0 if near else 1, self._room_around(bits), -block.first if from_above else block.first)
            if best is None or rank < best:
                best, chosen = rank, block
        return chosen

    def _room_around(self, bits: int) -> int:
        """Ranks of the largest free block that holds these: what taking them breaks up."""
        for block, around in blocks_of(self._num_ranks):
            if around & bits == bits and self._bits & around == around:
                return block.num_ranks
        return 0
