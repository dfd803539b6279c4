"""What a server runs: the network, what it was trained for, and the passes that make a clip of it.

Computed once from the checkpoint when the server starts, then handed to every part: ingress (costs, refusals), router
and engines see the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hhray.capabilities import Capabilities
from hhray.geometry import ClipGeometry, LatentGrid, Resolution
from hhray.memory_parts import Stage
from hhray.model_size import ModelSize
from hhray.request import Mode

DISTILLED_STEPS = 8
GUIDED_STEPS = 32
SUPER_RESOLUTION_STEPS = 5
EDIT_STEP = 4  # of 8: a source video is noised to sigma 0.833, and the remaining half of the steps is made


@dataclass(frozen=True, slots=True)
class Pass:
    """Denoising of one transformer: steps `first_step` .. `num_steps - 1` of its schedule, on `grid`.

    `forwards` is the number of forward passes a step takes: 2 with guidance.
    """

    stage: Stage
    grid: LatentGrid
    num_steps: int
    first_step: int = 0
    forwards: int = 1

    @property
    def made_steps(self) -> int:
        return self.num_steps - self.first_step


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`ladder` names the super-resolution transformer of each tier that has one; other tiers are enlarged after
    decode. `guided` base weights take 32 steps of two forward passes, distilled ones 8 of one."""

    size: ModelSize
    capabilities: Capabilities = field(default_factory=Capabilities)
    ladder: dict[Resolution, Stage] = field(default_factory=dict)
    guided: bool = False

    @property
    def base_steps(self) -> int:
        return GUIDED_STEPS if self.guided else DISTILLED_STEPS

    def passes(self, geometry: ClipGeometry, mode: Mode) -> tuple[Pass, ...]:
        """The passes of a clip in order: the base at 256P, then super-resolution to the tier where there is one."""
        noised_source = mode is Mode.VIDEO_EDIT and not self.capabilities.trained_for(mode)
        first = self.base_steps * EDIT_STEP // DISTILLED_STEPS if noised_source else 0
        base = Pass(Stage.BASE, geometry.base_grid, self.base_steps, first, 2 if self.guided else 1)
        stage = self.ladder.get(geometry.resolution)
        if stage is None:
            return (base,)
        return base, Pass(stage, geometry.run_grid, SUPER_RESOLUTION_STEPS)

    def num_steps(self, geometry: ClipGeometry, mode: Mode) -> int:
        """Denoising steps of a clip, all passes together: what progress counts."""
        return sum(one.made_steps for one in self.passes(geometry, mode))
