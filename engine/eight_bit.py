"""Weights in 8 bits, a scale for each row or one for all: coded while they are loaded, expanded one at a time in use.

A weight is value x scale. Expanding multiplies in float32 and rounds once to the dtype that is computed with, so that
the result is what dequantising beforehand would give.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hhray.memory_size import Format

DTYPES = {Format.FP8: torch.float8_e4m3fn, Format.INT8: torch.int8}
LARGEST = {Format.FP8: 448.0, Format.INT8: 127.0}  # the largest weight of a row, or of all, becomes this


def row_scales(exact: Tensor, kind: Format) -> Tensor:
    """float32 [rows, 1] scales of weights [rows, columns]; 1 for a row of zeros."""
    largest = exact.float().abs().amax(1, keepdim=True)
    return torch.where(largest > 0, largest / LARGEST[kind], 1.0)


def coded(exact: Tensor, scales: Tensor, kind: Format) -> Tensor:
    """Weights [rows, columns] in 8 bits, given float32 scales that spread over them."""
    scaled = exact.float() / scales
    return scaled.round().to(torch.int8) if kind is Format.INT8 else scaled.to(torch.float8_e4m3fn)


def expanded(values: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """8-bit weights [rows, columns] and scales [rows, 1] or [1, 1] as weights of `dtype`; needs no float32 copy."""
    return values.to(dtype).mul_(scales)


class EightBitLinear(nn.Module):
    """Stands for a linear of a library's network; computes in the dtype of its input."""

    def __init__(self, linear: nn.Linear, kind: Format) -> None:
        super().__init__()
        self.register_buffer("scales", row_scales(linear.weight, kind))
        self.weight = nn.Parameter(coded(linear.weight, self.scales, kind), requires_grad=False)
        self.bias = linear.bias

    scales: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, expanded(self.weight, self.scales, x.dtype), self.bias)


class EightBitEmbedding(nn.Module):
    """Stands for an embedding of a library's network; gives rows of the dtype that had."""

    def __init__(self, embedding: nn.Embedding, kind: Format) -> None:
        super().__init__()
        self.dtype = embedding.weight.dtype
        self.register_buffer("scales", row_scales(embedding.weight, kind))
        self.weight = nn.Parameter(coded(embedding.weight, self.scales, kind), requires_grad=False)

    scales: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        rows = F.embedding(ids, self.weight.view(torch.uint8)).view(self.weight.dtype)
        return rows.to(self.dtype).mul_(F.embedding(ids, self.scales))


@torch.no_grad()
def quantise_module(module: nn.Module, kind: Format) -> None:
    """Put all linears and embeddings below `module` into 8 bits, one after another."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, EightBitLinear(child, kind))
        elif isinstance(child, nn.Embedding):
            setattr(module, name, EightBitEmbedding(child, kind))
        else:
            quantise_module(child, kind)
