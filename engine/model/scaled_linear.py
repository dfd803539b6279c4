"""The linear with float8 weights that are multiplied as they are, by tokens that are quantised on the way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.eight_bit import expanded
from engine.model.layers import EightBitExpertLinear
from engine.model.stream import Run
from engine.scaled_product import aligned, aligned_scales, scaled_linear


class ScaledExpertLinear(EightBitExpertLinear):
    """An EightBitExpertLinear of float8 weights that expands none of them.

    `values` and `scales` are padded to the sizes the product takes: [experts * rows', columns'] and [experts, rows'].
    The state has the shapes of the files.
    """

    def __init__(self, values: Tensor, scales: Tensor, experts: int, dtype: torch.dtype) -> None:
        """`values` float8_e4m3fn [experts * rows, columns]; `scales` float32 [1] or [experts * rows]."""
        super().__init__(values, scales, experts, dtype)
        self.rows = len(values) // experts
        self.values = nn.Parameter(aligned(values, experts), requires_grad=False)
        self.scales = aligned_scales(scales, self.rows, experts)

    def forward(self, x: Tensor, runs: Sequence[Run]) -> Tensor:
        """[S, columns] -> [S, rows], in the dtype of `x`."""
        if self.experts == 1:
            return self._product(x, 0)
        # each run is quantised by itself: a product wants scales that begin at a multiple of 16 bytes
        parts = torch.split(x, [run.length for run in runs])
        return torch.cat([self._product(part, run.modality.value) for part, run in zip(parts, runs, strict=True)])

    def expert(self, index: int) -> Tensor:
        values, scales = self._plain(index)
        return expanded(values, scales[:, None], self.weight.dtype)

    def _product(self, x: Tensor, index: int) -> Tensor:
        weight = self.values.chunk(self.experts)[index]
        return scaled_linear(x, weight, self.scales[index : index + 1])[:, : self.rows]

    def _plain(self, index: int) -> tuple[Tensor, Tensor]:
        """Weights and scales of one expert without what they were padded with."""
        values = self.values.chunk(self.experts)[index]
        return values[: self.rows, : self.weight.shape[1]], self.scales[index, : self.rows]

    def _stored(self) -> tuple[Tensor, Tensor]:
        values, scales = zip(*map(self._plain, range(self.experts)), strict=True)
        plain = torch.cat([value.view(torch.uint8) for value in values])
        return plain.view(self.values.dtype), torch.cat(scales)
