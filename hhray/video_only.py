"""Ranks that hold video tokens only, and what they may do without: the audio and text experts of the edge layers.

Video comes first in a clip's stream and ranks hold slices in order, so that audio and text lie on the last ranks, on as
few as even slices allow. Of the full network these experts are 2 of 3 in 8 layers, 4.37e9 weights: 8.73 GB of a
transformer's 30.6 in bfloat16, 4.37 in 8 bits (specification 5.3). A rank that holds audio or text needs all of them,
so a gang of equal GPUs holds no more than before; the room is on the other ranks only (5 of 8, 2 of 4, 1 of 2 where all
tiers are offered), and their clips have to stay on all ranks of the gang, one at a time, without pictures or videos
behind the text. It is an option for that reason.

Packed clips are not put into another order for this: a token costs the same wherever it is computed, and audio and text
away from their own clip's video would cut the blocks of the attention in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hhray.geometry import DURATIONS, ClipGeometry, LatentGrid, Ratio, Resolution
from hhray.memory_parts import TRANSFORMER_STAGES, Component, Demand, MemoryPlan
from hhray.memory_plan import MAX_TEXT_TOKENS
from hhray.memory_size import transformer_bytes
from hhray.model_size import ModelSize


def video_only_ranks(demand: Demand) -> int:
    """How many of the first ranks hold nothing but video of any clip of the demand, whatever its text."""
    return min(
        sum(end <= grid.num_tokens for end in _slice_ends(grid.num_tokens + others, demand.ranks))
        for grid, others in _shapes(demand)
    )


def spared_bytes(size: ModelSize, item: Component) -> int:
    """Bytes of a component's audio and text experts in edge layers; 0 of what is no transformer."""
    if item.name not in TRANSFORMER_STAGES:
        return 0
    return transformer_bytes(size, item.format) - transformer_bytes(size, item.format, edge_experts=1)


def video_only_plan(plan: MemoryPlan, size: ModelSize) -> MemoryPlan:
    """The plan of a rank that holds video only, as the others': formats and places are the same, it has more room."""
    spared = {item.name: spared_bytes(size, item) for item in plan.components}
    parts = tuple(
        replace(
            item,
            num_bytes=item.num_bytes - spared[item.name],
            working_bytes=max(item.working_bytes - spared[item.name], 0),
        )
        for item in plan.components
    )
    pairs = tuple(zip(plan.components, parts, strict=True))
    less = {stage: sum(old.gpu_bytes(stage) - new.gpu_bytes(stage) for old, new in pairs) for stage in plan.stage_bytes}
    room = plan.room_bytes and {stage: room + less[stage] for stage, room in plan.room_bytes.items()}
    stages = {stage: total - less[stage] for stage, total in plan.stage_bytes.items()}
    return replace(plan, components=parts, stage_bytes=stages, room_bytes=room)


def _shapes(demand: Demand) -> Iterator[tuple[LatentGrid, int]]:
    """Video, and all other tokens at most, of every pass of every clip."""
    for seconds in range(DURATIONS[0], demand.duration + 1):
        for tier in {Resolution.P256, *demand.tiers}:
            for ratio in Ratio:
                clip = ClipGeometry(tier, ratio, seconds)
                others = clip.audio_latents + MAX_TEXT_TOKENS
                yield clip.native_grid(demand.native_share), others
                if tier in demand.ladder:
                    yield clip.run_grid, others


def _slice_ends(num_tokens: int, num_ranks: int) -> Iterator[int]:
    """Where each rank's slice ends: as even as possible, the first ranks have a token more."""
    share, rest = divmod(num_tokens, num_ranks)
    return ((rank + 1) * share + min(rank + 1, rest) for rank in range(num_ranks))
