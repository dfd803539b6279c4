"""Attention of the layers that see near frames only (model specification 3.4).

A video query in latent frame f sees the video tokens of frames f - window .. f + window and all audio and text tokens,
under one softmax over that union. Audio and text queries see everything. Which layers do so is a rule of the forward
pass, not of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attention import attend_all
from engine.model.stream import ItemShape
from hhray.geometry import LatentGrid


@dataclass(frozen=True, slots=True)
class LocalRule:
    """In `layers`, video tokens see `window` latent frames to either side.

    Raises:
        ValueError: a negative window.
    """

    window: int
    layers: frozenset[int]

    def __post_init__(self) -> None:
        if self.window < 0:
            raise ValueError(f"a window of {self.window} latent frames; it must be 0 or more")


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
    sizes = [item.num_tokens for item in items]
    parts = zip(torch.split(q, sizes), torch.split(k, sizes), torch.split(v, sizes), items, strict=True)
    return torch.cat([_attend_item(q, k, v, item.grid, window) for q, k, v, item in parts])


def _attend_item(q: Tensor, k: Tensor, v: Tensor, grid: LatentGrid, window: int) -> Tensor:
    blocks, video = frame_blocks(grid.frames, window), grid.num_tokens
    if len(blocks) == 1:
        return attend_all(q, k, v)
    outputs = []
    for block in blocks:
        own, seen = _tokens(block.frames, grid), _tokens(block.seen, grid)
        keys, values = (torch.cat([x[seen], x[video:]]) for x in (k, v))
        outputs.append(attend_all(q[own], keys, values))
    outputs.append(attend_all(q[video:], k, v))
    return torch.cat(outputs)


def _tokens(frames: range, grid: LatentGrid) -> slice:
    return slice(frames.start * grid.tokens_per_frame, frames.stop * grid.tokens_per_frame)
