"""Measures the decoders with a whole clip on one rank; ranks of a block share its windows (engine.decoding)."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.activation_meter import ActivationMeter
from engine.bench.clock import CLOCKS, WALL, Clock
from engine.bench.denoising import OnStep
from engine.bench.device import begin_peak, peak_of, synchronise
from engine.bench.figures import StageFigures
from engine.bench.networks import SEED, Decoder, random_turbo
from engine.codecs.turbo import decode_windows
from hhray.geometry import LatentGrid
from hhray.model_size import AUDIO_CHANNELS, VIDEO_CHANNELS

VIDEO_DECODE, AUDIO_DECODE = "video decode", "audio decode"


def video_shape(grid: LatentGrid) -> tuple[int, ...]:
    """Of the latents of a clip."""
    return VIDEO_CHANNELS, grid.frames, grid.height, grid.width


def audio_shape(num_latents: int) -> tuple[int, ...]:
    """Of the latents of its sound."""
    return AUDIO_CHANNELS, num_latents


def measure_decoder(
    stage: str,
    size: str,
    decoder: Decoder,
    shape: tuple[int, ...],
    runs: int,
    on_run: OnStep,
    clock: Clock = CLOCKS[WALL],
) -> StageFigures:
    """Time whole clips, after one in which matrix products and convolutions are counted. Latents are noise."""
    generator = torch.Generator().manual_seed(SEED)
    latent = torch.randn(shape, generator=generator).to(decoder.device)
    with torch.no_grad(), ActivationMeter([latent]) as meter, FlopCounterMode(display=False) as counter:
        decoder.decode(latent)
    on_run()
    begin_peak(decoder.device)
    seconds = []
    for _ in range(runs):
        synchronise(decoder.device)
        began = clock()
        decoder.decode(latent)
        synchronise(decoder.device)
        seconds.append(clock() - began)
        on_run()
    flops = int(counter.get_total_flops())
    return StageFigures(
        stage=stage,
        size=size,
        tokens=0,
        steps=1,
        seconds=tuple(seconds),
        flops={"counted": flops},
        bytes_sent=0,
        peak_bytes=peak_of(decoder.device, decoder.weight_bytes + meter.peak_bytes),
        kernels=(decoder.name,),
        device=decoder.device.type,
    )


def turbo_flops(grid: LatentGrid) -> int:
    """FLOPs of the Turbo decoder on a clip of latents, windows and their overlaps as they are, without memory."""
    meta = torch.device("meta")
    decoder = random_turbo(meta, torch.bfloat16)
    latent = torch.empty(video_shape(grid), device=meta)
    with FlopCounterMode(display=False) as counter:
        for _window, _video in decode_windows(decoder, latent):
            pass
    return int(counter.get_total_flops())
