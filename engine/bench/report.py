"""The one JSON object of a run: what was asked, on what machine, what was measured, and what follows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from engine.attention import attention_backends
from engine.bench.arguments import Options
from engine.bench.clock import CPU
from engine.bench.figures import StageFigures
from engine.bench.machine import machine_facts
from engine.bench.measure import Measured
from engine.bench.projection import PassCost, assumptions, project
from engine.bench.ways import network_dtype
from engine.bench.workload import Workload, pixels

BUSY = 0.5  # of load average beyond our own threads


def head(options: Options, work: Workload, command: str) -> dict[str, Any]:
    """What any run has: command, time, machine, network and clip."""
    device = torch.device(options.device)
    return {
        "benchmark": "engine.bench",
        "command": command,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine_facts(device),
        "preset": work.size.name,
        "dtype": str(network_dtype(options)).removeprefix("torch."),
        "clip": {
            "size": str(pixels(work.decoded)),
            "duration": options.duration,
            "latent_frames": work.decoded.frames,
            "audio_latents": work.audio_latents,
            "text_tokens": work.text_tokens,
        },
        "device": options.device,
        "ranks": options.ranks,
        "batch": options.batch,
        "clock": options.clock,
    }


def measured_facts(options: Options, work: Workload, found: Measured, device: str) -> dict[str, Any]:
    """What a run measured, beside its head; `device` is the name of one."""
    # ranks on a CPU share it; on GPUs each has its own
    num_devices = options.ranks if options.device == "cuda" else 1
    passes = found.shared or found.alone
    rows = [one.row(found.peak, num_devices) for one in passes] + [one.row(found.peak, 1) for one in found.decoders]
    return {
        "parameters": found.parameters,
        "weight_bytes": found.weight_bytes,
        "gemm_peak": {
            "tflops_per_second": found.peak.flops_per_second / 1e12,
            "shape": list(found.peak.shape),
            "dtype": found.peak.dtype,
        },
        "arithmetic": found.arithmetic,
        "attention": attention_backends(),
        "stages": rows,
        "stages_on_one_rank": [one.row(found.peak, 1) for one in found.alone] if found.shared else [],
        "ratio": _ratio(found, options.ranks),
        "against_plain": _against_plain(found) if options.compiled else None,
        "projection": _projection(options, work, found, device),
        "notes": [*found.notes, *_doubts(options)],
    }


def _doubts(options: Options) -> Iterator[str]:
    """What makes the figures of a CPU worse than they look."""
    if options.device != "cpu":
        return
    if options.compiled:
        yield "memory is that of a plain step: nobody counts what compiled kernels take on a CPU"
    if options.clock == CPU:
        yield "seconds are the processor's, of one thread: what other work took is left out, what it slowed is not"
    load, threads = os.getloadavg()[0], torch.get_num_threads()
    if options.ranks > threads:
        yield f"{options.ranks} ranks of one thread each were compared with one rank and a peak of {threads} thread(s)"
    if load > max(threads, options.ranks) + BUSY:
        yield f"the machine was busy with other work (load {load:.1f}): these are not its figures"


def _ratio(found: Measured, ranks: int) -> dict[str, Any] | None:
    """How many times faster a step is on all ranks than on one, in the same run."""
    if not found.shared:
        return None
    pairs = zip(found.alone, found.shared, strict=True)
    by_stage = {one.stage: one.seconds_per_step / many.seconds_per_step for one, many in pairs}
    return {"of": f"{ranks} ranks to 1 rank", "by_stage": by_stage}


def _against_plain(found: Measured) -> dict[str, Any]:
    """How many times faster the engine's compiled step is than the plain one of the same weights, in turns."""
    pairs = list(zip(found.alone, found.plain, strict=False))
    return {
        "of": "plain to compiled",
        "by_stage": {one.stage: other.seconds_per_step / one.seconds_per_step for one, other in pairs},
        "plain_seconds_each": {other.stage: list(other.seconds) for _, other in pairs},
        "plain_profiled_seconds": {other.stage: other.profile for _, other in pairs},
        "compile_seconds": found.compile_seconds,
        "problem": found.problem,
    }


def _projection(options: Options, work: Workload, found: Measured, device: str) -> dict[str, Any]:
    link = options.link_gb_per_second * 1e9
    element_bytes = network_dtype(options).itemsize
    costs = [
        PassCost(
            figures.stage,
            one.num_steps / work.batch,
            figures.seconds_per_step,
            work.stream(one),
            work.size,
            element_bytes,
            work.rule(one),
        )
        for figures, one in zip(found.alone, work.passes, strict=True)
    ]
    projected = project(costs, _seconds(found.decoders), link)
    return {
        "clips": [one.row(projected[0]) for one in projected],
        "assumptions": assumptions(device, link),
    }


def _seconds(stages: Sequence[StageFigures]) -> float:
    return sum(one.seconds_per_clip for one in stages)
