"""The token stream: which tokens a batch of clips is made of, and which of them a rank holds.

An item is one clip: its video tokens, then its audio tokens, then its text tokens. A stream is its items one after
another. A rank holds a contiguous slice of the stream, described as runs of one item and one modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from hhray.geometry import LatentGrid


class Modality(IntEnum):
    """Token kinds; the value is the index of the expert (model specification 1.1)."""

    VIDEO = 0
    AUDIO = 1
    TEXT = 2


@dataclass(frozen=True, slots=True)
class ItemShape:
    """Sizes of one clip in the stream. `text_tokens` is at least 2: the positions of one token are undefined.

    Raises:
        ValueError: fewer than 2 text tokens.
    """

    grid: LatentGrid
    audio_latents: int
    text_tokens: int

    def __post_init__(self) -> None:
        if self.text_tokens < 2:
            raise ValueError(f"an item needs at least 2 text tokens, got {self.text_tokens}")

    @property
    def lengths(self) -> tuple[int, int, int]:
        """Tokens by modality: video, audio, text."""
        return self.grid.num_tokens, self.audio_latents, self.text_tokens

    @property
    def num_tokens(self) -> int:
        return sum(self.lengths)


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens `start` .. `start + length - 1` of one modality of one item."""

    item: int
    modality: Modality
    start: int
    length: int

    @property
    def rows(self) -> slice:
        """The run's rows among its item's tokens of this modality."""
        return slice(self.start, self.start + self.length)


@dataclass(frozen=True, slots=True)
class TokenStream:
    """The packed stream of a batch."""

    items: tuple[ItemShape, ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each item: the blocks of the attention."""
        return tuple(item.num_tokens for item in self.items)

    @property
    def num_tokens(self) -> int:
        return sum(self.lengths)

    def slice_sizes(self, world_size: int) -> tuple[int, ...]:
        """Tokens each rank holds: as even as possible, the first ranks take the remainder."""
        share, rest = divmod(self.num_tokens, world_size)
        return tuple(share + (rank < rest) for rank in range(world_size))

    def slice_for(self, rank: int, world_size: int) -> tuple[Run, ...]:
        """The runs of one rank's slice, in stream order; empty runs are left out."""
        sizes = self.slice_sizes(world_size)
        begin = sum(sizes[:rank])
        end = begin + sizes[rank]
        runs, position = [], 0
        for index, item in enumerate(self.items):
            for modality, length in zip(Modality, item.lengths, strict=True):
                first, last = max(begin - position, 0), min(end - position, length)
                if first < last:
                    runs.append(Run(index, modality, first, last - first))
                position += length
        return tuple(runs)
