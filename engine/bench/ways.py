"""The networks a step is measured with: as the engine has it, and plain, as it would be without a compiler."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.arranged import arrange_linears
from engine.bench.arguments import Options
from engine.bench.networks import random_transformer
from engine.compiled import CompiledPointwise, use_pointwise
from engine.kernel_trial import compiled_pointwise, kernel_cache
from engine.model.dit import AudioVideoTransformer
from engine.model.pointwise import PLAIN
from engine.scaled_product import why_not_scaled
from engine.weights import arithmetic, compute_dtype, quantise_linears
from hhray.memory_size import Format


@dataclass(frozen=True, slots=True)
class Ways:
    """`networks` has the engine's network and, if it is to be compared with it, the plain one of the same weights.

    `arithmetic` says what the linears of the engine's compute in; `compile_seconds` were spent before the first step;
    `problem` says why nothing is compiled although it should be.
    """

    networks: tuple[AudioVideoTransformer, ...]
    arithmetic: str = ""
    compile_seconds: float = 0.0
    problem: str = ""


def network_dtype(options: Options) -> torch.dtype:
    """What the products of the measured network are computed in."""
    return compute_dtype(options.network, Format(options.dtype) if options.dtype else None)


def ways(options: Options, device: torch.device, *, compared: bool) -> Ways:
    """Build and compile what is to be measured on this device; `compared`: with the plain network beside it."""
    size, dtype = options.network, network_dtype(options)
    network = random_transformer(size, device, dtype)
    said = _kept_in(network, options.precision, device)
    arrange_linears(network)
    if not options.compiled:
        return Ways((network,), said)
    began, made = time.monotonic(), CompiledPointwise()
    cache = kernel_cache(Path(options.kernels) if options.kernels else None, size, device, dtype, ())
    cache.open()
    with torch.inference_mode():  # as steps run; the weights are no tensors of it, as in the engine
        pointwise = compiled_pointwise(size, device, dtype, cache, made)
    cache.seal()
    seconds = time.monotonic() - began
    use_pointwise(network, pointwise)
    if pointwise is PLAIN or not compared:
        return Ways((network,), said, seconds, made.failure)
    return Ways((network, random_transformer(size, device, dtype)), said, seconds)


def _kept_in(network: AudioVideoTransformer, precision: str, device: torch.device) -> str:
    """Put the linears into 8 bits, if that is asked for; what they compute in."""
    reason = ""
    if precision:
        kind = Format(precision)
        reason = why_not_scaled(device) if kind is Format.FP8 else ""
        quantise_linears(network, kind, scaled=kind is Format.FP8 and not reason)
    return arithmetic(network, reason)
