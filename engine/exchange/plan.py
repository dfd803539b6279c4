"""Who holds and who sees which tokens in one kind of layer: all that exchanges do and cost follows from it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import accumulate

from engine.local_attention import QueryBlock, joined, overlap, query_blocks
from engine.model.stream import TokenStream
from hhray.parallel_layout import ParallelLayout


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """A kind of layer of one stream in one layout; ranges are positions in the stream.

    `tokens` are those of each rank. Of each group: `held` are its tokens, `blocks` its queries by what they see, and
    `seen` the positions whose keys it needs, its own among them.
    """

    layout: ParallelLayout
    tokens: tuple[int, ...]
    held: tuple[range, ...]
    blocks: tuple[tuple[QueryBlock, ...], ...]
    seen: tuple[tuple[range, ...], ...]

    def fetched(self, source: int, target: int) -> tuple[range, ...]:
        """Positions held by group `source` that group `target` sees."""
        parts = (overlap(self.held[source], part) for part in self.seen[target])
        return tuple(part for part in parts if part)

    def row_blocks(self, group: int) -> tuple[QueryBlock, ...]:
        """The group's blocks as rows: of its queries, and of the keys it sees, one after another."""
        first, seen = self.held[group].start, self.seen[group]
        ends = accumulate(len(part) for part in seen)
        shifts = [end - part.stop for end, part in zip(ends, seen, strict=True)]

        def rows(keys: range) -> range:
            index = next(i for i, part in enumerate(seen) if keys.start in part)
            return range(keys.start + shifts[index], keys.stop + shifts[index])

        return tuple(
            QueryBlock(
                range(block.queries.start - first, block.queries.stop - first),
                joined(rows(part) for part in block.keys),
            )
            for block in self.blocks[group]
        )


@functools.lru_cache(maxsize=128)
def layer_plan(stream: TokenStream, layout: ParallelLayout, window: int | None) -> LayerPlan:
    """The plan of layers whose video sees `window` latent frames to either side; None: everything.

    Without halo exchange a group fetches all of the clips it has queries of, whatever these see.
    """
    tokens = stream.slice_sizes(layout.num_ranks)
    ends = [0, *accumulate(tokens)]
    held = tuple(
        range(ends[first], ends[first + layout.ulysses]) for first in range(0, layout.num_ranks, layout.ulysses)
    )
    blocks = tuple(query_blocks(stream.items, group, window) for group in held)
    wanted = blocks if layout.halo else tuple(query_blocks(stream.items, group, None) for group in held)
    seen = tuple(joined(part for block in group for part in block.keys) for group in wanted)
    return LayerPlan(layout, tokens, held, blocks, seen)
