"""Compiles a network's kernels at load and compares them with the plain way, before any clip depends on them."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.arranged import padded_size
from engine.compiled import CompiledPointwise
from engine.hardware import device_name, driver_version
from engine.kernel_cache import KernelCache
from engine.model.coordinates import rotate
from engine.model.layers import ExpertNorm, gelu7, swiglu7_halves
from engine.model.pointwise import PLAIN, Activation, Pointwise
from engine.model.stream import Modality, Run
from hhray.model_size import NUM_MODALITIES, ModelSize

logger = logging.getLogger(__name__)

RUNS = tuple(Run(0, int(modality), modality, 0, 16 * (1 + modality), False) for modality in Modality)
TOKENS = sum(run.length for run in RUNS)
# of the largest value of a result; the same steps in the same precision differ by rounding only
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2**-6}

# computes one kind of what stands between products, in the way it is given
Trial = Callable[[Pointwise], Sequence[Tensor]]


def kernel_cache(
    root: Path | None, size: ModelSize, device: torch.device, dtype: torch.dtype, shapes: Sequence[object]
) -> KernelCache:
    """Kernels of this device, driver and torch, for this network and the shapes it is warmed up with."""
    facts: dict[str, Any] = {
        "device": device_name(device),
        "driver": driver_version(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "heads": [size.num_heads, size.num_kv_heads, size.head_dim],
        "widths": [size.hidden, size.swiglu_width],
        "dtype": dtype,
        "shapes": [repr(shape) for shape in shapes],
    }
    return KernelCache(root, facts)


def compiled_pointwise(
    size: ModelSize, device: torch.device, dtype: torch.dtype, cache: KernelCache, made: CompiledPointwise | None = None
) -> Pointwise:
    """Kernels that have run and were right; the plain way, with a line in the log that says why, where that fails.

    Call it in the mode of gradients that steps run in, once `cache` is open: torch compiles for each mode anew.

    Args:
        size, device, dtype: of the network; `device` is where it computes, wherever its weights are now.
        cache: is discarded unless all is well; seal it once all that will be compiled is.
        made: what is tried out; None: with torch's own compiler.
    """
    began, made = time.monotonic(), made or CompiledPointwise()
    problem = next(filter(None, (_problem(made, *one, TOLERANCE[dtype]) for one in trials(size, device, dtype))), "")
    if problem:
        made.failure = problem
        cache.discard()
        logger.warning("layers are computed without compiled kernels: %s", problem)
        return PLAIN
    logger.info("compiled kernels are ready after %.1f s", time.monotonic() - began)
    return made


def trials(size: ModelSize, device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, Trial]]:
    """What layers of this network, once arranged, ask of a Pointwise: a name, and the same on random numbers."""
    generator = torch.Generator(device).manual_seed(0)

    def noise(*shape: int, spread: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator, device=device) * spread

    residual = noise(TOKENS, size.hidden)
    fused = noise(TOKENS, padded_size(size.qkv_rows)).to(dtype)
    query, key, _, gate = torch.split(fused[:, : size.qkv_rows], _widths(size), dim=1)
    query, key = (torch.unflatten(x, 1, (-1, size.head_dim)) for x in (query, key))
    angles = noise(TOKENS, 3 * (size.head_dim // 8))
    rotary = angles.cos(), angles.sin()

    def normed(norm: ExpertNorm) -> Trial:
        return lambda by: [by.norm(residual, norm, RUNS, dtype)]

    def rotated(norm: ExpertNorm) -> Trial:
        return lambda by: by.heads((query, key), (norm, norm), RUNS, rotary, rotate)

    def gated(mixed: Tensor) -> Trial:
        return lambda by: [by.gate(mixed, gate)]

    def activated(activation: Activation, width: int) -> Trial:
        wide = noise(TOKENS, width, spread=4.0).to(dtype)
        return lambda by: [by.activation(wide, activation)]

    for experts in (1, NUM_MODALITIES):
        yield f"norm of {experts} expert(s)", normed(_norm(size.hidden, experts, generator))
        yield f"heads of {experts} expert(s)", rotated(_norm(size.head_dim, experts, generator))
    yield "gate", gated(query.contiguous())
    # as torch's own attention leaves it
    yield "gate, head by head", gated(query.transpose(0, 1).contiguous().transpose(0, 1))
    yield "swiglu7", activated(swiglu7_halves, 2 * padded_size(size.swiglu_width))
    yield "gelu7", activated(gelu7, size.gelu_width)


def _norm(dim: int, experts: int, generator: torch.Generator) -> ExpertNorm:
    with torch.inference_mode(False):  # kernels for weights made in inference mode would serve no others
        made = ExpertNorm(dim, experts).to(generator.device).requires_grad_(False)
        made.weight.normal_(0, 0.1, generator=generator)
        return made


def _problem(made: CompiledPointwise, name: str, trial: Trial, tolerance: float) -> str:
    """What is wrong with one kernel; empty if nothing."""
    found, expected = trial(made), trial(PLAIN)
    if made.failure:
        return f"{name}: {made.failure}"
    for one, other in zip(found, expected, strict=True):
        missed = float((one.float() - other.float()).abs().max() / other.float().abs().max())
        if one.dtype != other.dtype or one.shape != other.shape or not missed <= tolerance:
            return f"{name}: the kernel is off by {missed:.2g} of the largest value, more than {tolerance:.2g}"
    return ""


def _widths(size: ModelSize) -> list[int]:
    """Columns of q, k, v and gates in what linear_qkv gives."""
    keys = size.num_kv_heads * size.head_dim
    return [size.attention_width, keys, keys, size.num_heads]
