"""Blocks: the aligned groups of a gang's ranks that a clip can run on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hhray.errors import ConfigError

BLOCK_SIZES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Block:
    """Ranks `first` .. `first + num_ranks - 1` of a gang, aligned: `first` is a multiple of `num_ranks`.

    Raises:
        ConfigError: no ranks, or not aligned.
    """

    first: int
    num_ranks: int

    def __post_init__(self) -> None:
        if self.num_ranks < 1 or self.first < 0 or self.first % self.num_ranks:
            raise ConfigError(
                f"a block of {self.num_ranks} ranks from rank {self.first}; a block has 1 rank or more and begins at a "
                "multiple of their number, such as 4 ranks from rank 0 or 4"
            )

    @property
    def ranks(self) -> range:
        return range(self.first, self.first + self.num_ranks)

    def __contains__(self, rank: int) -> bool:
        return rank in self.ranks

    def __str__(self) -> str:
        return f"{self.first}-{self.ranks[-1]}" if self.num_ranks > 1 else str(self.first)


def block_sizes(world_size: int) -> tuple[int, ...]:
    """How many ranks the blocks of a gang have, the most first: all of them, then 8, 4, 2 and 1 as far as there are."""
    return tuple(sorted({world_size, *(count for count in BLOCK_SIZES if count < world_size)}, reverse=True))


def aligned_blocks(world_size: int) -> tuple[Block, ...]:
    """Every block of a gang, the largest first, then by rank: the order in which all ranks make their groups."""
    return tuple(
        Block(first, count) for count in block_sizes(world_size) for first in range(0, world_size - count + 1, count)
    )


def smallest_block(world_size: int, ranks: Iterable[int]) -> Block:
    """The smallest block of a gang that has all these ranks.

    Raises:
        ConfigError: the gang has not.
    """
    wanted = set(ranks)
    for block in reversed(aligned_blocks(world_size)):
        if wanted <= set(block.ranks):
            return block
    raise ConfigError(f"ranks {sorted(wanted)} are not all in a gang of {world_size} ranks; name ranks of the gang")
