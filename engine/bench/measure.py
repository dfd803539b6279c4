"""One whole run: the machine's peak, every stage on one rank, the passes on several, and what follows for more."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.bench.arguments import Options
from engine.bench.clock import CLOCKS, CPU, Clock
from engine.bench.decoding import AUDIO_DECODE, VIDEO_DECODE, audio_shape, measure_decoder, video_shape
from engine.bench.denoising import Rank, measure_pass, num_steps
from engine.bench.device import rank_device, release
from engine.bench.figures import StageFigures
from engine.bench.gang import measure_on_ranks
from engine.bench.networks import audio_decoder, num_bytes, video_decoder
from engine.bench.peak import GemmPeak, gemm_peak
from engine.bench.progress import Told
from engine.bench.ways import Ways, network_dtype, ways
from engine.bench.workload import Workload, pixels
from engine.weights import build_meta_model
from hhray.errors import ConfigError
from hhray.geometry import AUDIO_LATENTS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a run. `alone` are the passes on one rank, `plain` the same of the plain network, if that was
    asked for, step by step in turns, and `shared` those on several ranks, likewise. `compile_seconds` were spent before
    all that, and `problem` says why nothing was compiled; `notes` say what was left out."""

    peak: GemmPeak
    alone: tuple[StageFigures, ...]
    plain: tuple[StageFigures, ...]
    arithmetic: str
    compile_seconds: float
    problem: str
    shared: tuple[StageFigures, ...]
    decoders: tuple[StageFigures, ...]
    weight_bytes: int
    parameters: int
    notes: tuple[str, ...]


def measure(options: Options, work: Workload) -> Measured:
    """Everything; progress goes to stderr.

    Raises:
        EngineFault: a rank failed.
    """
    device = rank_device(options.device, 0)
    threads, clock = torch.get_num_threads(), CLOCKS[options.clock]
    if options.clock == CPU:
        torch.set_num_threads(1)  # their times would add up
    with Told() as told:
        peak = _peak(told, device, network_dtype(options), clock)
        by = _ways(told, options, device)
        weight_bytes = num_bytes(by.networks[0])
        steps, rank, shown = options.steps, Rank(0, 1, device, clock), num_steps(options.steps, len(by.networks))
        passes = [
            measure_pass(by.networks, work, one, rank, steps, told.stage(str(one.stage), shown), options.attention)
            for one in work.passes
        ]
        said, compile_seconds, problem = by.arithmetic, by.compile_seconds, by.problem
        del by
        release(device)
        decoders, notes = _decoders(told, work, rank, steps)
    release(device)  # the first of several ranks needs the room
    shared = measure_on_ranks(options, max(1, threads // options.ranks)) if options.ranks > 1 else []
    return Measured(
        peak=peak,
        alone=tuple(one[0] for one in passes),
        plain=tuple(one[1] for one in passes if len(one) > 1),
        arithmetic=said,
        compile_seconds=compile_seconds,
        problem=problem,
        shared=tuple(shared),
        decoders=tuple(decoders),
        weight_bytes=weight_bytes,
        parameters=sum(weight.numel() for weight in build_meta_model(work.size).parameters()),
        notes=(*work.notes, *notes),
    )


def _ways(told: Told, options: Options, device: torch.device) -> Ways:
    built = told.stage("building and compiling", 1)
    made = ways(options, device, compared=True)
    built()
    return made


def _peak(told: Told, device: torch.device, dtype: torch.dtype, clock: Clock) -> GemmPeak:
    measured = told.stage("matrix products", 1)
    peak = gemm_peak(device, dtype, clock)
    measured()
    release(device)
    return peak


def _decoders(told: Told, work: Workload, rank: Rank, runs: int) -> tuple[list[StageFigures], list[str]]:
    """Figures of the decoders that can be had here, and a note for each that cannot."""
    grid, num_latents = work.decoded, work.audio_latents
    sound = f"{num_latents / AUDIO_LATENTS_PER_SECOND:g} s"
    wanted = (
        (VIDEO_DECODE, str(pixels(grid)), video_decoder, video_shape(grid)),
        (AUDIO_DECODE, sound, audio_decoder, audio_shape(num_latents)),
    )
    found, notes = [], ["text encoding and the writing of the file are not measured"]
    for stage, size, make, shape in wanted:
        try:
            decoder = make(work.size, rank.device)
        except ConfigError as error:
            notes.append(f"no {stage}: {error.message}")
            continue
        on_run = told.stage(stage, runs + 1)
        found.append(measure_decoder(stage, size, decoder, shape, runs, on_run, rank.clock))
    return found, notes
