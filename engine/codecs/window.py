"""Windows of a clip that are decoded one by one, and which rank of a block decodes which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """One call of a decoder. Latent frames past the clip's end stand for copies of its last frame.

    Attributes:
        start, stop: latent frames the decoder sees, stop excluded.
        skip: frames of context to cut from the beginning of what it makes.
        first_frame: place in the clip of the first frame that is kept.
        num_frames: frames kept.
    """

    start: int
    stop: int
    skip: int
    first_frame: int
    num_frames: int

    @property
    def is_first(self) -> bool:
        return self.first_frame == 0


def deal(parts: Sequence[Window], num_ranks: int) -> tuple[tuple[Window, ...], ...]:
    """A clip's windows in turns of one window a rank: rank r decodes the r-th of every turn, if there is one.

    The windows of a turn follow each other, so that after each turn the clip is known that much further, and its
    encoder can go on. Runs of consecutive windows would keep it waiting for one rank's window at a time, and balance no
    better: either way a rank has the number of windows divided by that of ranks, rounded up, at most.
    """
    return tuple(tuple(parts[first : first + num_ranks]) for first in range(0, len(parts), num_ranks))
