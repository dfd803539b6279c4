"""What is measured: the passes that make one clip of the size asked for, their token streams and what is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from engine.bench.arguments import Options
from engine.local_attention import LocalRule
from engine.model.stream import ItemShape, TokenStream
from engine.stages import local_rule
from hhray.geometry import PIXELS, SPATIAL_STRIDE, ClipGeometry, LatentGrid, Ratio, Resolution, Size, nearest_ratio
from hhray.memory_parts import Stage
from hhray.memory_plan import is_small
from hhray.model_size import EMBEDDED, EMBEDDED_SHARE, ModelSize
from hhray.served_model import DEFAULT_LADDER, SUPER_RESOLUTION_STEPS, Pass, ServedModel


@dataclass(frozen=True, slots=True)
class Workload:
    """A clip, of which `batch` are denoised as one. The last pass's latents are decoded, with `audio_latents` of
    sound; `notes` say what it lacks."""

    served: ServedModel
    passes: tuple[Pass, ...]
    audio_latents: int
    text_tokens: int
    notes: tuple[str, ...] = ()
    batch: int = 1

    @property
    def size(self) -> ModelSize:
        return self.served.size

    @property
    def decoded(self) -> LatentGrid:
        """Latent grid of what is decoded."""
        return self.passes[-1].grid

    def stream(self, one: Pass) -> TokenStream:
        """The tokens of a pass: video, audio and text of every clip of the batch."""
        return TokenStream((ItemShape(one.grid, self.audio_latents, self.text_tokens),) * self.batch)

    def rule(self, one: Pass) -> LocalRule | None:
        """Which layers of the pass see near frames only."""
        return local_rule(one.stage, self.size.num_layers)


def workload(options: Options) -> Workload:
    """The clip of these options: distilled weights, and super-resolution as the network's ladder has it."""
    size = options.network
    ladder = {} if is_small(size) else {tier: Stage(name) for tier, name in DEFAULT_LADDER.items()}
    share = EMBEDDED_SHARE if size.name == EMBEDDED else Fraction(1)
    served = ServedModel(size, ladder=ladder, native_share=share)
    geometry = ClipGeometry(options.tier, Ratio.R16_9, options.duration)
    if options.pixels is not None:
        passes = _passes(served, options.pixels, options.duration)
        return Workload(served, passes, geometry.audio_latents, options.text_tokens, batch=options.batch)
    notes = []
    if options.tier is not Resolution.P256 and options.tier not in ladder:
        notes.append(f"the {size.name} network has no super-resolution: {options.tier} is enlarged after decoding")
    passes, texts = served.passes(geometry), options.text_tokens
    return Workload(served, passes, geometry.audio_latents, texts, tuple(notes), options.batch)


def pixels(grid: LatentGrid) -> Size:
    """The picture size of a latent grid."""
    return Size(grid.width * SPATIAL_STRIDE, grid.height * SPATIAL_STRIDE)


def _passes(served: ServedModel, size: Size, duration: int) -> tuple[Pass, ...]:
    """The base at this size, or super-resolution to it from the 256P size of the nearest ratio."""
    ratio = nearest_ratio(size)
    tier = _tier(size, ratio)
    geometry = ClipGeometry(tier, ratio, duration)
    asked, stage = size.latent_grid(geometry.latent_frames), served.ladder.get(tier)
    if stage is None:
        return (Pass(Stage.BASE, asked, served.base_steps),)
    base = Pass(Stage.BASE, served.base_grid(geometry), served.base_steps)
    return base, Pass(stage, asked, SUPER_RESOLUTION_STEPS)


def _tier(size: Size, ratio: Ratio) -> Resolution:
    """The smallest tier with as many pixels in its run size, or the largest of all."""
    for tier, listed in zip(Resolution, PIXELS[ratio], strict=True):
        run = listed.run()
        if size.width * size.height <= run.width * run.height:
            return tier
    return list(Resolution)[-1]
