"""What a rank does between loading and its first clip: it compiles, and runs the shapes it will be asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from engine.compiled import use_pointwise
from engine.components import Components
from engine.denoiser import ClipInput, Denoiser
from engine.kernel_cache import KernelCache
from engine.kernel_trial import compiled_pointwise, kernel_cache
from engine.samplers.noise import NoiseSource
from engine.warm_shapes import WarmShapes
from engine.weights import compute_dtype
from hhray.geometry import ClipGeometry, LatentGrid
from hhray.memory_parts import Stage
from hhray.model_size import AUDIO_CHANNELS
from hhray.served_model import Pass

SMALLEST = LatentGrid(2, 16, 16)  # mostly video, as clips are


def compile_layers(components: Components, kernel_dir: Path | None, shapes: Sequence[ClipGeometry]) -> KernelCache:
    """Let all transformers run compiled kernels, kept in `kernel_dir`, if they can be had here.

    The cache is to be sealed once the shapes have been run, which may compile more.
    """
    size, device = components.served.size, components.device
    dtype = compute_dtype(size)
    cache = kernel_cache(kernel_dir, size, device, dtype, shapes)
    cache.open()
    pointwise = compiled_pointwise(size, device, dtype, cache)
    for model in components.transformers:
        use_pointwise(model, pointwise)
    return cache


def run_shapes(
    components: Components,
    denoiser_of: Callable[[Stage], Denoiser],
    shapes: Sequence[ClipGeometry],
    known: WarmShapes,
) -> None:
    """One tiny forward pass, then one of each pass of these clips. Ranks of a group do so at the same time."""
    text = components.text.encode("warming up").to(components.device)
    _run(Pass(Stage.BASE, SMALLEST, 1), SMALLEST.decoded_frames, text, denoiser_of)
    for geometry in shapes:
        for one in components.served.passes(geometry):
            _run(one, geometry.audio_latents, text, denoiser_of)
            known.warm(one)


def _run(one: Pass, audio_latents: int, text: Tensor, denoiser_of: Callable[[Stage], Denoiser]) -> None:
    """A forward pass over noise, whose outcome nobody needs."""
    draw = NoiseSource(0, text.device)
    audio = None if one.stage is Stage.BASE else draw((audio_latents, AUDIO_CHANNELS))
    clip = ClipInput(one.grid, audio_latents, text, draw, negative_text=text, audio=audio)
    denoiser = denoiser_of(one.stage)
    denoiser.velocities(denoiser.start([clip]))
