"""Block linears arranged for the machine, once, at load: in sizes that matrix units like, and gates apart from values.

The 13,652 channels inside the full network's MLP are 4 x 3,413: in bfloat16 a row of the second product's weights has
27,304 bytes, no multiple of the 16 that vector loads take; and its 7,208 rows of q, k, v and gates end in the middle
of a tile (model specification 1.6). They are padded with zeros, which is exact. Zero rows of `up_gate_proj` give
channels that either activation turns into 0 (gelu7(0) = 0, swiglu7(0, 0) = 0), and these meet zero columns of
`down_proj`; what zero rows of `linear_qkv` give is cut off. It costs 0.4 % of the weights: 0.11 GB, which the reserve
of a memory plan has to spare.

The published `up_gate_proj` gives gates and values in turns, g l g l .., of which vector units can load neither alone.
Its rows are put in another order, g g .. l l .., and the activation takes halves.

Weights in 8 bits are left as they are: those that are multiplied so have sizes of their own.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.model.dit import AudioVideoTransformer, Layer
from engine.model.layers import ExpertLinear, swiglu7, swiglu7_halves

TILE = 128
LEAST = 4096  # smaller sizes would grow by more than 3 %


def padded_size(count: int, tile: int = TILE, least: int = LEAST) -> int:
    """The next multiple of `tile`; sizes below `least` stay."""
    return count if count < least else count + -count % tile


class ArrangedExpertLinear(ExpertLinear):
    """An ExpertLinear with its rows in another order and zeros behind them; the state is the published one.

    Of each expert, published row i is row i // `parts` of part i mod `parts`; every part is padded to `rows` rows, and
    rows are padded to `columns`: `weight` is [experts * parts * rows, columns].
    """

    def __init__(self, linear: ExpertLinear, rows: int, columns: int, parts: int = 1) -> None:
        nn.Module.__init__(self)
        self.experts, self.parts = linear.experts, parts
        plain = torch.unflatten(linear.weight, 0, (self.experts, -1, parts)).transpose(1, 2)
        self.rows, self.columns = plain.shape[2:]
        padded = F.pad(plain, (0, columns - self.columns, 0, rows - self.rows))
        self.weight = nn.Parameter(padded.flatten(0, 2), requires_grad=False)

    def published(self) -> Tensor:
        """The weight as files have it: [experts * rows, columns], in the published order."""
        parts = torch.unflatten(self.weight, 0, (self.experts, self.parts, -1))
        return parts[:, :, : self.rows, : self.columns].transpose(1, 2).flatten(0, 2)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        weight = self.published()
        destination[f"{prefix}weight"] = weight if keep_vars else weight.detach()


@torch.no_grad()
def arrange_linears(model: AudioVideoTransformer, tile: int = TILE, least: int = LEAST) -> None:
    """Arrange the linears with float weights of all layers, one after another."""
    for layer in cast(list[Layer], list(model.block.layers)):
        attention, mlp = layer.attention, layer.mlp
        if type(attention.linear_qkv) is ExpertLinear:
            rows, columns = _shape(attention.linear_qkv)
            attention.linear_qkv = _arranged(attention.linear_qkv, padded_size(rows, tile, least), columns)
        if type(mlp.up_gate_proj) is type(mlp.down_proj) is ExpertLinear:
            rows, width = _shape(mlp.down_proj)
            parts, wider = 2 if mlp.activation is swiglu7 else 1, padded_size(width, tile, least)
            mlp.up_gate_proj = _arranged(mlp.up_gate_proj, wider, mlp.up_gate_proj.weight.shape[1], parts)
            mlp.down_proj = _arranged(mlp.down_proj, rows, wider)
            mlp.activation = swiglu7_halves if parts == 2 else mlp.activation


def _shape(linear: ExpertLinear) -> tuple[int, int]:
    """Rows and columns of one expert."""
    return len(linear.weight) // linear.experts, linear.weight.shape[1]


def _arranged(linear: ExpertLinear, rows: int, columns: int, parts: int = 1) -> ExpertLinear:
    if parts == 1 and _shape(linear) == (rows, columns):
        return linear
    return ArrangedExpertLinear(linear, rows, columns, parts)
