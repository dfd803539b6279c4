"""Products of float8 tensors with a scale for every row of both, as float8 units compute them: no weight is expanded.

    y[s, r] = a[s] b[r] sum_k x[s, k] w[r, k]

with the sum in float32, or on Hopper in the units' own accumulators, which keep fewer bits (torch's `use_fast_accum`,
as is usual in inference). Tokens are quantised on the way, each by its own largest value. GPUs take sizes that are
multiples of 16 only: weights are padded with zeros once, tokens as they are quantised, and zeros add nothing.

torch has these products for CUDA devices of compute capability 8.9 and above, with exceptions by version, and for CPUs;
so a device is asked with a small one. On a GPU this has never run yet: it follows torch's own checks of the arguments.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.eight_bit import DTYPES, LARGEST, coded, row_scales
from hhray.memory_size import PIECE_TOKENS, SCALED_ALIGNMENT, Format

FLOAT8 = DTYPES[Format.FP8]
PROBE_ERROR = 0.01  # of the largest value: bfloat16 results are within 0.004


def scaled_linear(x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """Tokens [S, K] of a float dtype times a weight as `aligned` makes it: [S, rows'], in the dtype of `x`.

    `weight` is float8 [rows', K'], `scales` float32 [1, rows'].
    """
    values, token_scales = quantised(x, weight.shape[1])
    # for row-wise scales, CUDA has bfloat16 results only
    made = torch.bfloat16 if x.is_cuda else x.dtype
    product = torch._scaled_mm(
        values, weight.t(), scale_a=token_scales, scale_b=scales, out_dtype=made, use_fast_accum=True
    )
    return product.to(x.dtype)


def quantised(x: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Tokens [S, K] as float8 [S, columns], zeros behind column K, and their scales, float32 [S, 1].

    The largest value of a token becomes 448. What is not finite stays so.
    """
    largest = torch.linalg.vector_norm(x, torch.inf, dim=1, keepdim=True).float()
    scales = torch.where(largest > 0, largest / LARGEST[Format.FP8], 1.0)
    values = torch.zeros(len(x), columns, dtype=FLOAT8, device=x.device)
    # the quotients are float32: a compiler needs no memory for them, others get them in pieces
    step = len(x) if torch.compiler.is_compiling() else PIECE_TOKENS
    for begin in range(0, len(x), step):
        rows = slice(begin, begin + step)
        values[rows, : x.shape[1]] = x[rows] / scales[rows]
    return values, scales


def aligned(values: Tensor, experts: int) -> Tensor:
    """Weights in 8 bits [experts * rows, K], each expert padded with zeros: [experts * rows', K']."""
    rows, columns = len(values) // experts, values.shape[1]
    margin = (0, -columns % SCALED_ALIGNMENT, 0, -rows % SCALED_ALIGNMENT)
    if not any(margin):
        return values
    plain = values.view(torch.uint8).view(experts, rows, columns)  # not all operations know float8
    return F.pad(plain, margin).flatten(0, 1).view(values.dtype)


def aligned_scales(scales: Tensor, rows: int, experts: int) -> Tensor:
    """Scales [1] or [experts * rows] for `aligned` weights: float32 [experts, rows'], 1 where there are no weights."""
    each = scales.float().flatten().expand(experts * rows).view(experts, rows)
    return F.pad(each, (0, -rows % SCALED_ALIGNMENT), value=1.0)


@cache
def why_not_scaled(device: torch.device) -> str:
    """What keeps `scaled_linear` from running on a device; empty where it does, and its result is right."""
    generator = torch.Generator().manual_seed(0)
    x, exact = (torch.randn(rows, 40, generator=generator) for rows in (5, 24))
    scales = row_scales(exact, Format.FP8)
    weight = coded(exact, scales, Format.FP8)
    values, token_scales = quantised(x.to(torch.bfloat16), 40)
    expected = (values.float() * token_scales) @ (weight.float() * scales).T
    try:
        made = scaled_linear(
            x.to(device, torch.bfloat16), aligned(weight, 1).to(device), aligned_scales(scales, 24, 1).to(device)
        )
        found = made[:, :24].float().cpu()
    except (RuntimeError, ValueError, AttributeError) as error:  # as torch refuses what a device or a version lacks
        return str(error).partition("\n")[0]
    missed = float((found - expected).abs().max() / expected.abs().max())
    return "" if missed < PROBE_ERROR else f"the result of a small product is off by {missed:.2g} of its largest value"
