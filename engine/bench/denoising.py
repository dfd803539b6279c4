"""Measures denoising steps as the engine makes them: network, exchange, attention and solver, on one rank of a gang."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from engine.activation_meter import ActivationMeter
from engine.attention import consider_compiled_attention
from engine.attention_warm_up import measure_layers
from engine.bench.device import KernelWatch, begin_peak, peak_of, synchronise
from engine.bench.figures import StageFigures
from engine.bench.flops import step_flops
from engine.bench.networks import SEED, num_bytes
from engine.bench.workload import Workload, pixels
from engine.denoiser import Batch, ClipInput, Denoiser
from engine.model.dit import AudioVideoTransformer
from engine.samplers.noise import NoiseSource
from engine.stages import stage_sampler, stage_style
from hhray.memory_parts import Stage
from hhray.model_size import AUDIO_CHANNELS
from hhray.served_model import Pass

OnStep = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Rank:
    """Which of how many ranks measures, and on what."""

    rank: int
    world_size: int
    device: torch.device


def measure_pass(
    network: AudioVideoTransformer, work: Workload, one: Pass, rank: Rank, steps: int, on_step: OnStep
) -> StageFigures:
    """Time steps of a pass, after one that warms up and is looked at. All ranks must call this at the same time.

    Args:
        steps: to be timed; a clip that ends before is begun anew, outside the timed steps.
        on_step: called after every step.
    """
    sampler, style = stage_sampler(one.stage, work.served), stage_style(one.stage)
    denoiser = Denoiser(network, sampler, rank.rank, rank.world_size, style, work.rule(one))
    consider_compiled_attention()
    measure_layers(work.stream(one), work.size, rank.rank, rank.world_size, rank.device, work.rule(one))
    activation_bytes, kernels = _watched_step(denoiser, clip_input(work, one, rank.device))
    on_step()
    begin_peak(rank.device)
    seconds, bytes_sent = _timed_steps(denoiser, work, one, rank.device, steps, on_step)
    peak_bytes = peak_of(rank.device, num_bytes(network) + activation_bytes)
    stream = work.stream(one)
    return StageFigures(
        stage=one.stage.value,
        size=str(pixels(one.grid)),
        tokens=stream.num_tokens,
        steps=one.num_steps,
        seconds=seconds,
        flops=asdict(step_flops(work.size, stream, work.rule(one))),
        bytes_sent=bytes_sent,
        peak_bytes=peak_bytes,
        kernels=kernels,
        device=rank.device.type,
    )


def clip_input(work: Workload, one: Pass, device: torch.device) -> ClipInput:
    """A clip of noise and random text features; super-resolution holds its audio, as in earnest."""
    draw = NoiseSource(SEED, device)
    text = draw((work.text_tokens, work.size.text_channels))
    audio = None if one.stage is Stage.BASE else draw((work.audio_latents, AUDIO_CHANNELS))
    return ClipInput(one.grid, work.audio_latents, text, draw, audio=audio)


def _watched_step(denoiser: Denoiser, clip: ClipInput) -> tuple[int, tuple[str, ...]]:
    """The most bytes of activations at one time, and the attention kernels, of a clip's first step."""
    with torch.no_grad():  # not inference mode: see KernelWatch
        batch = denoiser.start([clip])
        known = [*denoiser.model.state_dict().values(), *batch.inputs]
        with ActivationMeter(known) as meter, KernelWatch() as watch:
            denoiser.step(batch, 0)
    return meter.peak_bytes, watch.kernels


@torch.inference_mode()
def _timed_steps(
    denoiser: Denoiser, work: Workload, one: Pass, device: torch.device, steps: int, on_step: OnStep
) -> tuple[tuple[float, ...], int]:
    """Seconds of each step, and the bytes this rank sent in one of them."""
    batch: Batch | None = None
    seconds = []
    for _ in range(steps):
        if batch is None or batch.next_step == one.num_steps:
            batch = denoiser.start([clip_input(work, one, device)])
        sent = batch.bytes_sent
        synchronise(device)
        began = time.perf_counter()
        denoiser.step(batch, batch.next_step)
        synchronise(device)
        seconds.append(time.perf_counter() - began)
        sent = batch.bytes_sent - sent
        on_step()
    return tuple(seconds), sent
