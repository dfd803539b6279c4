"""What a memory plan is made of: cards, demands, components and the finished plan. GB are 10^9 bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

from hhray.geometry import Resolution
from hhray.memory_size import Format
from hhray.model_size import ModelSize
from hhray.parallel_layout import ParallelLayout


class Place(StrEnum):
    """Where a component lies."""

    RESIDENT = "resident"  # on the GPU all the time
    OFFLOADED = "offloaded"  # pinned on the host; one layer at a time is copied, overlapped with computing
    SWAPPED = "swapped"  # pinned on the host; on the GPU during its stage only
    HOST = "host"  # in host memory, computed by the CPU


class Stage(StrEnum):
    """What a GPU does for a clip, in order."""

    TEXT = "text"
    BASE = "base"
    SR_540P = "540p_sr"
    SR_1080P = "1080p_sr"
    DECODE = "decode"


TRANSFORMER_STAGES = (Stage.BASE, Stage.SR_540P, Stage.SR_1080P)
STAGE_OF_TIER = {Resolution.P480: Stage.SR_540P, Resolution.P720: Stage.SR_540P, Resolution.P1080: Stage.SR_1080P}


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card: memory in GB (10^9 bytes), whether it multiplies float8, who made it, and whether NVLink joins it to its
    peers."""

    memory_gb: float
    has_fp8: bool
    vendor: str = "nvidia"
    linked: bool = True


GPUS: dict[str, Gpu] = {
    "h200": Gpu(141, True),
    "h100": Gpu(80, True),
    "a100": Gpu(80, False),
    "rtx4090": Gpu(24, True, linked=False),
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to fit: the network, the tiers offered, the longest clip in seconds, and GPUs that share a clip.

    `ladder` names the super-resolution transformer of each tier that has one; `decoder` is "turbo" or "wan";
    `stand_ins` are those of text, video and sound whose codec needs no plan: it has no weights, or hardly any. The base
    runs at `native_share` of the 256P size. `layout` is how the GPUs share a clip, None: in the way that moves least.
    `precision` is what linears are to be in; None: what fits best. With `int8_attention` queries and keys are rounded.
    """

    size: ModelSize
    tiers: tuple[Resolution, ...] = tuple(Resolution)
    duration: int = 5
    ranks: int = 1
    ladder: Mapping[Resolution, Stage] = field(default_factory=lambda: dict(STAGE_OF_TIER))
    decoder: str = "turbo"
    stand_ins: frozenset[str] = frozenset()
    native_share: Fraction = Fraction(1)
    layout: ParallelLayout | None = None
    precision: Format | None = None
    int8_attention: bool = False


@dataclass(frozen=True, slots=True)
class Component:
    """One set of weights: `num_bytes` as stored, `working_bytes` on the GPU while its stage runs."""

    name: str
    stage: Stage
    format: Format
    place: Place
    num_bytes: int
    working_bytes: int

    def gpu_bytes(self, stage: Stage) -> int:
        """Bytes on the GPU during `stage`."""
        if self.stage is stage:
            return self.working_bytes
        return self.num_bytes if self.place is Place.RESIDENT else 0


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A plan that fits. `stage_bytes` is each stage's peak with the reserve; `host_bytes` must be pinned.

    `communicator_bytes` are those of process groups, part of every stage's peak. `room_bytes` is what activations of a
    stage may take beside all else; None where there is no limit. They count `int8_attention` if that is asked for.
    """

    components: tuple[Component, ...]
    stage_bytes: dict[Stage, int]
    chunked_mlp: bool
    communicator_bytes: int = 0
    room_bytes: dict[Stage, int] | None = None
    int8_attention: bool = False

    @property
    def peak_bytes(self) -> int:
        return max(self.stage_bytes.values())

    @property
    def host_bytes(self) -> int:
        return sum(item.num_bytes for item in self.components if item.place is not Place.RESIDENT)

    def other_bytes(self, stage: Stage) -> int:
        """Activations, communicators and reserve of a stage."""
        return self.stage_bytes[stage] - sum(item.gpu_bytes(stage) for item in self.components)

    def as_json(self) -> dict[str, Any]:
        """Plain values: components, stage_bytes, peak_bytes, host_bytes, communicator_bytes, chunked_mlp."""
        return {
            "components": [asdict(item) for item in self.components],
            "stage_bytes": dict(self.stage_bytes),
            "peak_bytes": self.peak_bytes,
            "host_bytes": self.host_bytes,
            "communicator_bytes": self.communicator_bytes,
            "chunked_mlp": self.chunked_mlp,
        }
