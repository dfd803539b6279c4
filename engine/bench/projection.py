"""What more devices would give: measured compute of one device, counted bytes, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.exchange import step_bytes
from engine.local_attention import LocalRule
from engine.model.stream import TokenStream
from hhray.model_size import ModelSize

WORLD_SIZES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class PassCost:
    """A pass on one device: steps of a clip (of a batch: divided by its clips), measured seconds of one, its stream,
    bytes of an exchanged number, and which layers see near frames only."""

    stage: str
    steps: float
    seconds_per_step: float
    stream: TokenStream
    size: ModelSize
    element_bytes: int
    rule: LocalRule | None = None

    def compute_seconds(self, world_size: int) -> float:
        """Of all steps, on the rank with the most tokens."""
        share = max(self.stream.slice_sizes(world_size)) / self.stream.num_tokens
        return self.steps * self.seconds_per_step * share

    def bytes_per_step(self, world_size: int) -> int:
        """Of the rank that sends most."""
        shape = self.stream, self.size
        return max(step_bytes(*shape, rank, world_size, self.element_bytes, self.rule) for rank in range(world_size))


@dataclass(frozen=True, slots=True)
class Projected:
    """A clip on `devices` devices, in seconds. `passes` has compute and link time of each pass together."""

    devices: int
    compute_seconds: float
    link_seconds: float
    decode_seconds: float
    passes: dict[str, float]

    @property
    def seconds(self) -> float:
        return self.compute_seconds + self.link_seconds + self.decode_seconds

    def row(self, alone: Projected) -> dict[str, Any]:
        """As plain values, with the ratio to one device."""
        return {
            "devices": self.devices,
            "seconds_per_clip": self.seconds,
            "compute_seconds": self.compute_seconds,
            "link_seconds": self.link_seconds,
            "decode_seconds": self.decode_seconds,
            "seconds_by_stage": self.passes,
            "speedup": alone.seconds / self.seconds,
        }


def project(costs: Sequence[PassCost], decode_seconds: float, link_bytes_per_second: float) -> tuple[Projected, ...]:
    """A clip on 1, 2, 4 and 8 devices: seconds_W = steps (seconds_1 x largest slice / tokens + bytes_W / bandwidth)."""
    found = []
    for world_size in WORLD_SIZES:
        compute = {cost.stage: cost.compute_seconds(world_size) for cost in costs}
        link = {cost.stage: cost.steps * cost.bytes_per_step(world_size) / link_bytes_per_second for cost in costs}
        passes = {stage: compute[stage] + link[stage] for stage in compute}
        found.append(Projected(world_size, sum(compute.values()), sum(link.values()), decode_seconds, passes))
    return tuple(found)


def assumptions(device: str, link_bytes_per_second: float) -> list[str]:
    """What a projection takes for granted."""
    return [
        f"every device computes like the one measured ({device}), in proportion to its tokens; nothing gets slower per "
        "token as slices shrink",
        f"each sends {link_bytes_per_second / 1e9:g} GB/s in one direction to all others together; an exchange has no "
        "latency",
        "exchange and compute do not overlap; bytes are those of engine.exchange.step_bytes, of the rank that sends "
        "most",
        "video and sound are decoded on one device, one after the other, as the engine does today",
    ]
