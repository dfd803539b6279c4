"""Sampler cases: whole runs from recorded noise, told apart by the tensors they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from engine.attention import Kernel, attend_blocks
from engine.denoiser import Batch, ClipInput, Denoiser
from engine.local_attention import LocalRule
from engine.model.coordinates import CoordinateStyle
from engine.model.dit import AudioVideoTransformer
from engine.parity.golden_set import GoldenFile, GoldenSet
from engine.parity.report import SAMPLER_TOLERANCE, Row, compare
from engine.samplers.base import Draw
from engine.samplers.distilled import DistilledSampler
from engine.samplers.unipc import Guidance, UniPCSampler
from engine.super_resolution import NOISE_LEVEL, enlarged, signal_levels, super_resolution_input
from hhray.errors import ConfigError
from hhray.geometry import LatentGrid
from hhray.model_size import AUDIO_CHANNELS, VIDEO_CHANNELS

STEPS = re.compile(r"_(\d+)step")


def sampler_rows(golden: GoldenSet, name: str) -> list[Row]:
    """A sampler case: its recorded outputs and intermediates.

    Raises:
        ConfigError: a file or tensor is missing or misshapen, or the name does not tell the number of steps.
    """
    file = golden.file(name)
    if "base_video" in file.tensors:
        return _super_resolution_rows(golden, name, file)
    found = STEPS.search(name)
    if found is None:
        raise ConfigError(f"{name}.safetensors: the name does not tell the number of steps, as in distill_8step_t2v")
    num_steps, guided = int(found[1]), "null_text_features" in file.tensors
    steps = sorted(key for key in file.tensors if key.startswith("step_noise."))
    if len(steps) != (0 if guided else 2 * num_steps):
        raise ConfigError(f"{name}.safetensors has {len(steps)} tensors step_noise.* for {num_steps} steps")
    sampler = UniPCSampler(num_steps, Guidance()) if guided else DistilledSampler(num_steps)
    denoiser = Denoiser(golden.model("weights", torch.float32), sampler)
    return _final_rows(name, file, _run(denoiser, _clip(golden, file, [file.item(key) for key in steps])))


def distilled_latents(
    golden: GoldenSet, name: str, model: AudioVideoTransformer, kernel: Kernel = attend_blocks
) -> tuple[Tensor, Tensor]:
    """Final video and audio latents of an unguided sampler case, made by `model` with attention by `kernel`.

    Raises:
        ConfigError: a file or tensor is missing or misshapen.
    """
    file = golden.file(name)
    steps = [file.item(key) for key in sorted(file.tensors) if key.startswith("step_noise.")]
    denoiser = Denoiser(model, DistilledSampler(len(steps) // 2), kernel=kernel)
    batch = _run(denoiser, _clip(golden, file, steps))
    return batch.videos[0], batch.audios[0]


def _clip(golden: GoldenSet, file: GoldenFile, steps: list[Tensor]) -> ClipInput:
    noise, audio = file.item("video_noise"), file.optional("audio_latent")
    grid = _grid(file, "video_noise")
    first = [] if audio is not None else [file.item("audio_noise")]
    audio_latents = len(audio) if audio is not None else len(first[0])
    return ClipInput(
        grid,
        audio_latents,
        _text(golden, file, "text_features"),
        replay([*first, noise, *steps]),
        file.optional("image_latent", (VIDEO_CHANNELS, 1, grid.height, grid.width)),
        audio,
        negative_text=_text(golden, file, "null_text_features") if "null_text_features" in file.tensors else None,
    )


def _super_resolution_rows(golden: GoldenSet, name: str, file: GoldenFile) -> list[Row]:
    found = STEPS.search(name)
    if found is None:
        raise ConfigError(f"{name}.safetensors: the name does not tell the number of steps, as in sr_540p_5step")
    base, audio, grid = file.item("base_video"), file.item("base_audio"), _grid(file, "video_noise")
    draw = replay([file.item("video_noise"), file.item("audio_noise", (len(audio), AUDIO_CHANNELS))])
    frame = file.optional("image_latent", (VIDEO_CHANNELS, 1, grid.height, grid.width))
    clip = super_resolution_input(base, audio, grid, _text(golden, file, "text_features"), draw, frame)
    ours = {
        "upsampled": enlarged(base, grid)[None],
        "sigma": torch.tensor([signal_levels()[NOISE_LEVEL]]),
        "noised": torch.empty(0) if clip.video is None else clip.video[None],
    }
    rows = [compare(name, key, value, file.plain(key), SAMPLER_TOLERANCE) for key, value in ours.items()]
    denoiser = Denoiser(
        golden.model("sr_weights", torch.float32),
        UniPCSampler(int(found[1])),
        style=CoordinateStyle.V1,
        local=_local_rule(golden, name[: found.start()]),
    )
    return rows + _final_rows(name, file, _run(denoiser, clip))


def _local_rule(golden: GoldenSet, network: str) -> LocalRule | None:
    """Of a network with local layers, their window and layers: those of the forward case of its name.

    Raises:
        ConfigError: the index does not have it.
    """
    return golden.forward_case(network).local if network.endswith("_local") else None


def _run(denoiser: Denoiser, clip: ClipInput) -> Batch:
    batch = denoiser.start([clip])
    for index in range(denoiser.sampler.num_steps):
        denoiser.step(batch, index)
    return batch


def _final_rows(name: str, file: GoldenFile, batch: Batch) -> list[Row]:
    ours = {"video_out": batch.videos[0], "audio_out": batch.audios[0]}
    return [compare(name, key, value, file.item(key), SAMPLER_TOLERANCE) for key, value in ours.items()]


def replay(tensors: Iterable[Tensor]) -> Draw:
    """A noise source that gives recorded tensors in order, and refuses when they are of another shape or used up."""
    recorded = iter(tensors)

    def draw(shape: tuple[int, ...]) -> Tensor:
        noise = next(recorded, None)
        if noise is None or tuple(noise.shape) != shape:
            have = None if noise is None else list(noise.shape)
            raise ConfigError(f"noise of {list(shape)} is needed next, but {have} was recorded")
        return noise.clone()

    return draw


def _grid(file: GoldenFile, key: str) -> LatentGrid:
    noise = file.item(key)
    if noise.dim() != 4 or len(noise) != VIDEO_CHANNELS or noise.shape[2] % 2 or noise.shape[3] % 2:
        raise ConfigError(f"{file.name}.safetensors: {key} is no video latent [1, {VIDEO_CHANNELS}, T, h, w]")
    return LatentGrid(*noise.shape[1:])


def _text(golden: GoldenSet, file: GoldenFile, key: str) -> Tensor:
    text = file.item(key)
    return file.item(key, (len(text), golden.size.text_channels))
