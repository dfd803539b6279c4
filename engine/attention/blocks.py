"""Which keys queries see, in plain ranges of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class QueryBlock:
    """Consecutive queries that see the same keys: those of the ranges `keys`, which are in order and do not touch."""

    queries: range
    keys: tuple[range, ...]


def joined(ranges: Iterable[range]) -> tuple[range, ...]:
    """The union of `ranges`: in order, none empty, none touching the next."""
    union: list[range] = []
    for part in sorted((part for part in ranges if part), key=lambda part: part.start):
        if union and part.start <= union[-1].stop:
            union[-1] = range(union[-1].start, max(union[-1].stop, part.stop))
        else:
            union.append(part)
    return tuple(union)


def rows_of(x: Tensor, parts: Sequence[range]) -> Tensor:
    """The rows of x in `parts`, one after another; no copy where there is but one part."""
    rows = [x[part.start : part.stop] for part in parts]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def key_parts(blocks: Sequence[QueryBlock]) -> tuple[tuple[range, ...], ...]:
    """The keys of all blocks as few times one range a block: part p has the p-th range of every block, none empty.

    Kernels of variable length take one range of keys a block and give nonsense for an empty one, so a block of fewer
    ranges than the others has its longest cut in two until it has as many.

    Raises:
        ValueError: a block sees fewer keys than another one sees ranges of them.
    """
    count = max(len(block.keys) for block in blocks)
    ranges = [list(block.keys) for block in blocks]
    for own in ranges:
        while len(own) < count:
            longest = max(range(len(own)), key=lambda index: len(own[index]), default=-1)
            if longest < 0 or len(own[longest]) < 2:
                raise ValueError(f"a block sees {sum(map(len, own))} keys, too few to be cut into {count} ranges")
            whole = own[longest]
            middle = (whole.start + whole.stop) // 2
            own[longest : longest + 1] = [range(whole.start, middle), range(middle, whole.stop)]
    return tuple(zip(*ranges, strict=True))
