"""How many clips of a bucket are worth packing into one batch: decided by seconds per clip, measured where they are.

Packing pays where a rank is not busy enough. Published, for images on GPUs: at 1,000 tokens 1.8x with 2 and 3.1x with 8
(Qwen-Image on an H200, sglang pull request 22183), at 2,000 tokens 1.16x with 2 (L20X, vllm-omni 7227), at 4,100 tokens
1.02x (H200) or a slight loss (Ascend, vllm-omni 3831). Our shortest 256P clip has 2,300 tokens and more; nobody has
measured it on a GPU. On the CPU of engine/bench/results nothing is gained, and the embedded network loses from 4 on.

So the cap is 1 above 4,096 tokens on a rank, and below it the last batch that still gained: a batch that gains nothing
only makes its first clip wait for its last.
"""

from __future__ import annotations

from typing import Protocol

from hhray.cost import condition_tokens, stream_tokens
from hhray.request import ShapeKey
from hhray.served_model import ServedModel

MIN_GAIN = 0.05
MAX_TOKENS_PER_RANK = 4096
ROUNDING = 1e-9


class BatchCosts(Protocol):
    """What a cap is decided by: hhray.unit_costs, or hhray.cost_correction with what was measured."""

    def num_units(self, bucket: str) -> int:
        """Denoising steps over all passes, and decode chunks."""

    def unit_seconds(self, bucket: str, unit: int, degree: int, items: int = 1) -> float:
        """Wall seconds of one unit of a batch of `items` clips on a block of `degree` ranks."""


def batch_cap(
    costs: BatchCosts,
    served: ServedModel,
    bucket: str,
    *,
    degree: int = 1,
    most: int = 8,
    min_gain: float = MIN_GAIN,
    max_tokens_per_rank: int = MAX_TOKENS_PER_RANK,
) -> int:
    """The largest batch whose every clip was worth adding: seconds per clip fall by `min_gain` with each.

    1 where one clip alone, in its largest pass, has more than `max_tokens_per_rank` tokens on each of `degree` ranks.

    Args:
        costs: predictions, corrected by what was measured.
        served: what is served.
        bucket: `str(ShapeKey)`.
        degree: ranks of the block.
        most: clips that a batch may have at all.
        min_gain: of seconds per clip, against one clip less; 0 packs whatever does not lose.
        max_tokens_per_rank: of a clip that may be packed.

    Raises:
        ValueError: what is no bucket.
    """
    if tokens_of(served, bucket) > degree * max_tokens_per_rank:
        return 1
    units = range(costs.num_units(bucket))
    cap, per_clip = 1, sum(costs.unit_seconds(bucket, unit, degree) for unit in units)
    while cap < most:
        larger = sum(costs.unit_seconds(bucket, unit, degree, cap + 1) for unit in units) / (cap + 1)
        if larger > (1 - min_gain) * per_clip * (1 + ROUNDING):
            break
        cap, per_clip = cap + 1, larger
    return cap


def tokens_of(served: ServedModel, bucket: str) -> int:
    """Tokens of a clip of the bucket in its largest pass."""
    key = ShapeKey.parse(bucket)
    geometry = key.geometry
    grids = [one.grid for one in served.passes(geometry)]
    clean = condition_tokens(served, geometry, key.mode)
    return clean + max(stream_tokens(grid, geometry.audio_latents) for grid in grids)
