"""The MLP on some thousands of tokens at a time, where a memory plan asks for small activations (specification 5.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from engine.model.dit import AudioVideoTransformer, Mlp
from engine.model.stream import Run
from hhray.memory_size import CHUNK_TOKENS


class ChunkedMlp(Mlp):
    """The same parameters under the same names; every token is computed alone, so that chunks change nothing."""

    def __init__(self, whole: Mlp, chunk_tokens: int = CHUNK_TOKENS) -> None:
        nn.Module.__init__(self)
        self.activation, self.pointwise, self.chunk_tokens = whole.activation, whole.pointwise, chunk_tokens
        self.pre_norm, self.up_gate_proj, self.down_proj = whole.pre_norm, whole.up_gate_proj, whole.down_proj

    def forward(self, x: Tensor, runs: Sequence[Run]) -> Tensor:
        if len(x) <= self.chunk_tokens:
            return super().forward(x, runs)
        result = torch.empty(x.shape, dtype=self.down_proj.weight.dtype, device=x.device)
        for begin in range(0, len(x), self.chunk_tokens):
            end = min(begin + self.chunk_tokens, len(x))
            result[begin:end] = super().forward(x[begin:end], tuple(cut_runs(runs, begin, end)))
        return result


def cut_runs(runs: Sequence[Run], begin: int, end: int) -> Iterator[Run]:
    """What tokens `begin` .. `end - 1` of a slice are made of."""
    position = 0
    for run in runs:
        first, last = max(begin, position), min(end, position + run.length)
        if first < last:
            yield replace(run, start=run.start + first - position, length=last - first)
        position += run.length


def chunk_mlps(model: AudioVideoTransformer, chunk_tokens: int = CHUNK_TOKENS) -> None:
    """Make all MLPs of a network work in chunks."""
    for layer in model.block.layers:
        layer.mlp = ChunkedMlp(layer.mlp, chunk_tokens)  # type: ignore[arg-type]
