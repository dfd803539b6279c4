"""What the transformers of the stages differ in beside their weights: sampler, positions, local layers (spec 3)."""

from __future__ import annotations

from engine.model.coordinates import CoordinateStyle
from engine.samplers.base import Sampler
from engine.samplers.distilled import DistilledSampler
from engine.samplers.unipc import Guidance, UniPCSampler
from hhray.local_rule import local_rule
from hhray.memory_parts import Stage
from hhray.served_model import SUPER_RESOLUTION_STEPS, ServedModel

__all__ = ["local_rule", "stage_sampler", "stage_style"]


def stage_sampler(stage: Stage, served: ServedModel) -> Sampler:
    """Distilled or guided for the base, five unguided UniPC steps for super-resolution."""
    if stage is not Stage.BASE:
        return UniPCSampler(SUPER_RESOLUTION_STEPS)
    return UniPCSampler(served.base_steps, Guidance()) if served.guided else DistilledSampler(served.base_steps)


def stage_style(stage: Stage) -> CoordinateStyle:
    """How the stage's network counts positions."""
    return CoordinateStyle.V2 if stage is Stage.BASE else CoordinateStyle.V1
