"""The token stream: which tokens a batch of clips is made of, and which of them a rank holds.

An item is one clip: its video tokens, its audio tokens, its text tokens, then the segments it is conditioned on
(reference pictures, a source video). A stream is its items one after another. A rank holds a contiguous slice of the
stream, described as runs of one segment of one item.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from hhray.geometry import LatentGrid


class Modality(IntEnum):
    """Token kinds; the value is the index of the expert (model specification 1.1)."""

    VIDEO = 0
    AUDIO = 1
    TEXT = 2


Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SegmentShape:
    """Tokens of one modality on a grid of their own (frames, rows, columns), `offset` away from the clip's first token.

    `extent` is the grid they are centred in, their own unless given. A segment with `output` is noisy: the network's
    velocities for it are wanted. All others are clean: they are read, never written.
    """

    modality: Modality
    grid: Triple
    offset: Triple = (0, 0, 0)
    extent: Triple | None = None
    output: bool = False

    @property
    def num_tokens(self) -> int:
        return math.prod(self.grid)


@dataclass(frozen=True, slots=True)
class ItemShape:
    """Sizes of one clip in the stream; `conditions` are the clean segments behind its text.

    Raises:
        ValueError: fewer than 2 text tokens, whose positions are undefined, or a condition with an output.
    """

    grid: LatentGrid
    audio_latents: int
    text_tokens: int
    conditions: tuple[SegmentShape, ...] = ()

    def __post_init__(self) -> None:
        if self.text_tokens < 2:
            raise ValueError(f"an item needs at least 2 text tokens, got {self.text_tokens}")
        if any(segment.output for segment in self.conditions):
            raise ValueError("what a clip is conditioned on has no output")

    @property
    def segments(self) -> tuple[SegmentShape, ...]:
        """All of the item in stream order."""
        grid = self.grid
        return (
            SegmentShape(Modality.VIDEO, (grid.frames, grid.rows, grid.columns), output=True),
            SegmentShape(Modality.AUDIO, (self.audio_latents, 1, 1), output=True),
            SegmentShape(Modality.TEXT, (self.text_tokens, 1, 1)),
            *self.conditions,
        )

    @property
    def num_tokens(self) -> int:
        return sum(segment.num_tokens for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens `start` .. `start + length - 1` of one segment of one item; `output` is the segment's."""

    item: int
    segment: int
    modality: Modality
    start: int
    length: int
    output: bool

    @property
    def rows(self) -> slice:
        """The run's rows among its segment's tokens."""
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
        for item, shape in enumerate(self.items):
            for index, segment in enumerate(shape.segments):
                first, last = max(begin - position, 0), min(end - position, segment.num_tokens)
                if first < last:
                    runs.append(Run(item, index, segment.modality, first, last - first, segment.output))
                position += segment.num_tokens
        return tuple(runs)
