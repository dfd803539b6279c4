"""A pipeline that can be asked for what scoring needs: other steps than the served ones, and its codec alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.denoiser import Denoiser
from engine.pipeline import Pipeline
from engine.samplers.base import Sampler
from engine.samplers.distilled import DistilledSampler
from engine.samplers.unipc import UniPCSampler
from hhray.errors import ConfigError
from hhray.geometry import SPATIAL_STRIDE, ClipGeometry, Resolution, Size
from hhray.memory_parts import Stage
from hhray.served_model import ServedModel

SAMPLERS = ("distilled", "unipc")


@dataclass(frozen=True, slots=True)
class _OtherSteps(ServedModel):
    """A served model whose base pass takes `steps`."""

    steps: int = 0

    @property
    def base_steps(self) -> int:
        return self.steps


class SampledPipeline(Pipeline):
    """A Pipeline whose base transformer takes the steps of `sampler`; None: those it is served with."""

    def __init__(
        self,
        served: ServedModel,
        folder: Path | None = None,
        *,
        sampler: Sampler | None = None,
        **options: Any,  # noqa: ANN401 - Pipeline's
    ) -> None:
        if sampler is not None:
            said = {field.name: getattr(served, field.name) for field in fields(served)}
            served = _OtherSteps(**said, steps=sampler.num_steps)
        super().__init__(served, folder, **options)
        self._sampler = sampler

    def base_size(self, geometry: ClipGeometry) -> Size:
        """Pixels of the frames that the base pass makes for clips of a geometry."""
        grid = self.served.passes(geometry)[0].grid
        return Size(SPATIAL_STRIDE * grid.width, SPATIAL_STRIDE * grid.height)

    @torch.inference_mode()
    def round_trip(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture uint8 [H, W, 3] (sides multiples of 16) after the video codec: of the same shape."""
        parts = self._loaded
        pixels = torch.from_numpy(picture).permute(2, 0, 1).float().div_(127.5).sub_(1).to(parts.device)
        frames = parts.video_decoder.decode(parts.video_encoder.encode(pixels))
        return np.asarray(frames[0].numpy(), np.uint8)

    def _denoiser(self, stage: Stage) -> Denoiser:
        made = super()._denoiser(stage)
        if self._sampler is None or stage is not Stage.BASE:
            return made
        return Denoiser(
            made.model,
            self._sampler,
            made.rank,
            made.world_size,
            made.style,
            made.local,
            predicts_clean=made.predicts_clean,
            kernel=made.kernel,
        )


def load_pipeline(
    folder: str, steps: int = 0, sampler: str = "distilled", device: str = "cpu", base: str = "auto"
) -> SampledPipeline:
    """The weights of a folder or name, to make clips of 3 s at 256P with.

    Args:
        folder: as `Pipeline.from_pretrained`.
        steps: 0: as the weights are served; else so many, without guidance.
        sampler: whose steps: "distilled" (each noises the clean latent afresh) or "unipc" (no fresh noise).
        device: where to compute.
        base: which base weights of the folder, as `Pipeline.from_pretrained`.

    Raises:
        ConfigError: the folder is no release, there is no such sampler, or steps are negative.
    """
    if sampler not in SAMPLERS or steps < 0:
        raise ConfigError(f"{steps} steps of {sampler!r}: expected 0 or more steps of one of: {', '.join(SAMPLERS)}")
    made = (DistilledSampler(steps) if sampler == "distilled" else UniPCSampler(steps)) if steps else None
    pipeline = SampledPipeline.from_pretrained(folder, base=base, sampler=made, tiers=[Resolution.P256], max_seconds=3)
    return pipeline.to(device)
