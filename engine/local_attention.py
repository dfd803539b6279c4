"""Attention of the layers that see near frames only (model specification 3.4).

A video query in latent frame f sees the video tokens of frames f - window .. f + window and all audio and text tokens,
under one softmax over that union. Audio and text queries see everything. Which layers do so is a rule of the forward
pass, not of the weights.

What a query sees is said once, by `query_blocks`: kernels compute by it, exchanges fetch keys by it, costs count by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from engine.attention import QueryBlock, attend_blocks, joined, rows_of
from engine.model.stream import ItemShape
from hhray.geometry import LatentGrid
from hhray.local_rule import LocalRule

__all__ = [
    "LOCAL_1080P",
    "FrameBlock",
    "LocalRule",
    "QueryBlock",
    "attend_blocks",
    "attend_local",
    "frame_blocks",
    "joined",
    "overlap",
    "query_blocks",
    "rows_of",
]


# 1080p super-resolution: of 40 layers the eight 3, 7, .. 31 see everything.
LOCAL_1080P = LocalRule(11, frozenset(range(40)) - frozenset(range(3, 32, 4)))


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """Consecutive latent frames `frames` that see the same frames `seen`."""

    frames: range
    seen: range


def frame_blocks(num_frames: int, window: int) -> tuple[FrameBlock, ...]:
    """The frames of a clip, grouped by what they see; one block when all see all."""
    blocks: list[FrameBlock] = []
    for frame in range(num_frames):
        seen = range(max(frame - window, 0), min(frame + window + 1, num_frames))
        if blocks and blocks[-1].seen == seen:
            blocks[-1] = FrameBlock(range(blocks[-1].frames.start, frame + 1), seen)
        else:
            blocks.append(FrameBlock(range(frame, frame + 1), seen))
    return tuple(blocks)


def query_blocks(items: Sequence[ItemShape], held: range, window: int | None) -> tuple[QueryBlock, ...]:
    """The queries of the stream positions `held`, in order, by the positions they see.

    Args:
        items: the packed clips of the stream.
        held: consecutive stream positions, such as a rank's slice.
        window: latent frames that video sees to either side; None: all of its own clip.
    """
    blocks, start = [], 0
    for item in items:
        whole = range(start, start + item.num_tokens)
        if overlap(whole, held):
            for queries, keys in _seen_in_item(whole, item.grid, window):
                if own := overlap(queries, held):
                    blocks.append(QueryBlock(own, joined(keys)))
        start = whole.stop
    return tuple(blocks)


def _seen_in_item(whole: range, grid: LatentGrid, window: int | None) -> Iterator[tuple[range, list[range]]]:
    """Queries of an item at the stream positions `whole`, with the keys they see."""
    blocks = frame_blocks(grid.frames, grid.frames if window is None else window)
    if len(blocks) == 1:
        yield whole, [whole]
        return
    rest = range(whole.start + grid.num_tokens, whole.stop)
    for block in blocks:
        own, seen = (
            range(whole.start + frames.start * grid.tokens_per_frame, whole.start + frames.stop * grid.tokens_per_frame)
            for frames in (block.frames, block.seen)
        )
        yield own, [seen, rest]
    yield rest, [whole]


def overlap(one: range, other: range) -> range:
    """What two ranges share; empty if nothing."""
    start = max(one.start, other.start)
    return range(start, max(min(one.stop, other.stop), start))


def attend_local(q: Tensor, k: Tensor, v: Tensor, items: Sequence[ItemShape], window: int) -> Tensor:
    """Local attention within each item.

    Args:
        q: [S, H, D]; query head n reads key head n // (H / K).
        k, v: [S, K, D], of the dtype of q.
        items: the packed clips, summing to S tokens.
        window: latent frames seen to either side.

    Returns:
        [S, H, D] in the dtype of q.
    """
    return attend_blocks(q, k, v, query_blocks(items, range(len(q)), window))
