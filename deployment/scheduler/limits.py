"""How many clips of a bucket may run as one batch."""

from __future__ import annotations

from dataclasses import dataclass

from hhray.cost import stream_tokens
from hhray.request import ShapeKey
from hhray.served_model import ServedModel

# Above about 4,000 tokens a rank computes one clip as quickly per token as several: published measurements gain 1.02 to
# 1.03 times at 4,100 tokens, 1.8 to 3.2 times at 1,000 (SGLang pull request 22183).
TOKENS_OF_A_FULL_RANK = 4096


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How far packing may go: clips in a batch, tokens of the base pass over all its clips, and the tokens of one clip
    per rank above which it runs alone."""

    served: ServedModel
    max_clips: int
    max_tokens: int
    alone_above_tokens: int = TOKENS_OF_A_FULL_RANK

    def clips(self, bucket: str, degree: int = 1) -> int:
        """Most clips of that bucket in one batch on a block of `degree` ranks, at least one."""
        geometry = ShapeKey.parse(bucket).geometry
        tokens = stream_tokens(self.served.base_grid(geometry), geometry.audio_latents)
        if tokens > self.alone_above_tokens * degree:
            return 1
        return max(1, min(self.max_clips, self.max_tokens // tokens))
