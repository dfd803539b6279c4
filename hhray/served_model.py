"""What a server runs: the network, what it was trained for, and the passes that make a clip of it.

Computed once from the checkpoint when the server starts, then handed to every part: ingress (costs, refusals), router
and engines see the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from hhray.capabilities import Capabilities
from hhray.geometry import ClipGeometry, LatentGrid, Resolution, Size
from hhray.memory_parts import Stage
from hhray.model_size import ModelSize

DISTILLED_STEPS = 8
GUIDED_STEPS = 32
SUPER_RESOLUTION_STEPS = 5
# Which super-resolution weights a tier is made with, unless the operator chooses otherwise.
DEFAULT_LADDER = {Resolution.P480: "540p_sr", Resolution.P720: "540p_sr", Resolution.P1080: "1080p_sr"}


@dataclass(frozen=True, slots=True)
class Pass:
    """Denoising by one transformer on `grid`; `forwards` is the number of forward passes of a step, 2 with guidance."""

    stage: Stage
    grid: LatentGrid
    num_steps: int
    forwards: int = 1


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`ladder` names the super-resolution transformer of each tier that has one; other tiers are enlarged after
    decode. `guided` base weights take 32 steps of two forward passes, distilled ones 8 of one. The base pass runs at
    `native_share` of the 256P size. Its network says velocities, or with `predicts_clean` clean latents."""

    size: ModelSize
    capabilities: Capabilities = field(default_factory=Capabilities)
    ladder: dict[Resolution, Stage] = field(default_factory=dict)
    guided: bool = False
    native_share: Fraction = Fraction(1)
    predicts_clean: bool = False

    @property
    def base_steps(self) -> int:
        return GUIDED_STEPS if self.guided else DISTILLED_STEPS

    def native(self, geometry: ClipGeometry) -> Size:
        """Pixels of a clip's base pass."""
        return geometry.native(self.native_share)

    def base_grid(self, geometry: ClipGeometry) -> LatentGrid:
        """Latent grid of a clip's base pass."""
        return geometry.native_grid(self.native_share)

    def passes(self, geometry: ClipGeometry) -> tuple[Pass, ...]:
        """The passes of a clip in order: the base at its native size, then super-resolution where the tier has it."""
        base = Pass(Stage.BASE, self.base_grid(geometry), self.base_steps, 2 if self.guided else 1)
        stage = self.ladder.get(geometry.resolution)
        if stage is None:
            return (base,)
        return base, Pass(stage, geometry.run_grid, SUPER_RESOLUTION_STEPS)

    def num_steps(self, geometry: ClipGeometry) -> int:
        """Denoising steps of a clip, all passes together: what progress counts."""
        return sum(one.num_steps for one in self.passes(geometry))
