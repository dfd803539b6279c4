"""What a pipeline offers: tiers and lengths its memory was planned for, and what is particular about a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.messages import ClipJob
from hhray.blocks import block_sizes
from hhray.cost import stream_tokens
from hhray.errors import ConfigError, InvalidParameter
from hhray.geometry import MIN_DURATION, ClipGeometry, Ratio, Resolution
from hhray.memory_parts import MemoryPlan
from hhray.memory_plan import MAX_TEXT_TOKENS, check_room
from hhray.request import Mode, tier_key
from hhray.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class Offer:
    """Clips of `tiers` of at most `max_seconds` seconds; 256P is the base, which every memory plan holds."""

    served: ServedModel
    tiers: tuple[Resolution, ...]
    max_seconds: int

    def __contains__(self, geometry: ClipGeometry) -> bool:
        return geometry.resolution in {Resolution.P256, *self.tiers} and geometry.duration <= self.max_seconds

    def check(self, job: ClipJob) -> None:
        """The memory plan was made for what is offered and no more.

        Raises:
            InvalidParameter: the job's clip is not offered.
        """
        if job.geometry not in self:
            raise InvalidParameter(
                f"this pipeline was planned for clips of at most {self.max_seconds} seconds at "
                f"{', '.join(self.tiers)}; {job.duration} seconds at {job.resolution} were asked for"
            )

    def check_warm_up(self, shapes: Sequence[ClipGeometry]) -> None:
        """Raises:
        ConfigError: one of the shapes to warm up is not offered.
        """
        for geometry in shapes:
            if geometry not in self:
                raise ConfigError(
                    f"warming up with {geometry.duration} seconds at {geometry.resolution}, which is not offered; "
                    "offer the tier and the length, or leave the shape out"
                )

    def notice(self, job: ClipJob) -> str:
        """What is particular about a job's clip: a fallback, or a tier without super-resolution; empty if nothing."""
        return " ".join(filter(None, (self.served.capabilities.notice(Mode(job.mode)), self._size_notice(job))))

    def least_ranks(self, plan: MemoryPlan, world_size: int, video_only: bool) -> dict[str, int]:
        """On how many of `world_size` ranks a clip must be for its memory, by tier and length, where one is too few:
        the ratio with the most tokens decides. Ranks that hold video only share every clip with all others."""
        found = {}
        for tier in self.tiers:
            for seconds in range(MIN_DURATION, self.max_seconds + 1):
                clips = [ClipGeometry(tier, ratio, seconds) for ratio in Ratio]
                sizes = reversed(block_sizes(world_size)) if not video_only else (world_size,)
                found[tier_key(tier, seconds)] = next(
                    (ranks for ranks in sizes if self._fit(plan, clips, ranks)), world_size
                )
        return {key: ranks for key, ranks in found.items() if ranks > 1}

    def _fit(self, plan: MemoryPlan, clips: Sequence[ClipGeometry], ranks: int) -> bool:
        try:
            for clip in clips:
                for one in self.served.passes(clip):
                    tokens = stream_tokens(one.grid, clip.audio_latents, MAX_TEXT_TOKENS)
                    check_room(plan, self.served.size, one.stage, tokens, ranks, None)
        except ConfigError:
            return False
        return True

    def _size_notice(self, job: ClipJob) -> str:
        geometry, name = job.geometry, self.served.size.name
        native = self.served.native(geometry)
        if geometry.resolution in self.served.ladder or native == geometry.output:
            return ""
        reason = f"the {name} model has no super-resolution stage for {geometry.resolution}"
        if geometry.resolution is Resolution.P256:
            reason = f"that is the size the {name} model draws at"
        return f"Denoised at {native} and enlarged to {geometry.output} after decode: {reason}."
