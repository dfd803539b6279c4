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
from engine.weights import compute_dtype
from hhray.memory_size import Format


@dataclass(frozen=True, slots=True)
class Ways:
    """`networks` has the engine's network and, if it is to be compared with it, the plain one of the same weights.

    `compile_seconds` were spent before the first step; `problem` says why nothing is compiled although it should be.
    """

    networks: tuple[AudioVideoTransformer, ...]
    compile_seconds: float = 0.0
    problem: str = ""


def network_dtype(options: Options) -> torch.dtype:
    """What the products of the measured network are computed in."""
    return compute_dtype(options.network, Format(options.dtype) if options.dtype else None)


def ways(options: Options, device: torch.device, *, compared: bool) -> Ways:
    """Build and compile what is to be measured on this device; `compared`: with the plain network beside it."""
    size, dtype = options.network, network_dtype(options)
    network = random_transformer(size, device, dtype)
    arrange_linears(network)
    if not options.compiled:
        return Ways((network,))
    began, made = time.monotonic(), CompiledPointwise()
    cache = kernel_cache(Path(options.kernels) if options.kernels else None, size, device, dtype, ())
    cache.open()
    with torch.inference_mode():  # as steps run; the weights are no tensors of it, as in the engine
        pointwise = compiled_pointwise(size, device, dtype, cache, made)
    cache.seal()
    seconds = time.monotonic() - began
    use_pointwise(network, pointwise)
    if pointwise is PLAIN or not compared:
        return Ways((network,), seconds, made.failure)
    return Ways((network, random_transformer(size, device, dtype)), seconds)
