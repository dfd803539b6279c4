"""Block linears in the sizes that matrix units like: padded with zeros once, at load. Results stay the same.

The 13,652 channels inside the full network's MLP are 4 x 3,413: in bfloat16 a row of the second product's weights has
27,304 bytes, no multiple of the 16 that vector loads take; and its 7,208 rows of q, k, v and gates end in the middle of
a tile (model specification 1.6). Padding is exact. Two zero rows of `up_gate_proj` give a channel that either activation
turns into 0 (gelu7(0) = 0, swiglu7(0, 0) = 0), and it meets a zero column of `down_proj`; what zero rows of
`linear_qkv` give is cut off. It costs 0.4 % of the weights: 0.11 GB, which the reserve of a memory plan has to spare.

Weights in 8 bits are left as they are: those that are multiplied so have sizes of their own.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from engine.model.dit import AudioVideoTransformer, Layer
from engine.model.layers import ExpertLinear

TILE = 128
LEAST = 4096  # smaller sizes would grow by more than 3 %


def padded_size(count: int, tile: int = TILE, least: int = LEAST) -> int:
    """The next multiple of `tile`; sizes below `least` stay."""
    return count if count < least else count + -count % tile


class PaddedExpertLinear(ExpertLinear):
    """An ExpertLinear with zero rows and columns behind those of each expert; the state has the published shape."""

    def __init__(self, linear: ExpertLinear, rows: int, columns: int) -> None:
        """`rows` and `columns` are those of one expert of the padded weight."""
        nn.Module.__init__(self)
        self.experts, plain = linear.experts, linear.weight.unflatten(0, (linear.experts, -1))
        self.rows, self.columns = plain.shape[1:]
        padded = F.pad(plain, (0, columns - self.columns, 0, rows - self.rows))
        self.weight = nn.Parameter(padded.flatten(0, 1), requires_grad=False)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        weight = self.weight if keep_vars else self.weight.detach()
        plain = weight.unflatten(0, (self.experts, -1))[:, : self.rows, : self.columns]
        destination[f"{prefix}weight"] = plain.flatten(0, 1)


@torch.no_grad()
def pad_linears(model: AudioVideoTransformer, tile: int = TILE, least: int = LEAST) -> None:
    """Pad the linears with float weights of all layers whose sizes ask for it, one after another."""
    for layer in cast(list[Layer], list(model.block.layers)):
        attention, mlp = layer.attention, layer.mlp
        if type(attention.linear_qkv) is ExpertLinear:
            rows, columns = _shape(attention.linear_qkv)
            attention.linear_qkv = _padded(attention.linear_qkv, padded_size(rows, tile, least), columns)
        if type(mlp.up_gate_proj) is type(mlp.down_proj) is ExpertLinear:
            (up_rows, columns), (rows, width) = _shape(mlp.up_gate_proj), _shape(mlp.down_proj)
            wider = padded_size(width, tile, least)
            mlp.up_gate_proj = _padded(mlp.up_gate_proj, up_rows // width * wider, columns)
            mlp.down_proj = _padded(mlp.down_proj, rows, wider)


def _shape(linear: ExpertLinear) -> tuple[int, int]:
    """Rows and columns of one expert."""
    return len(linear.weight) // linear.experts, linear.weight.shape[1]


def _padded(linear: ExpertLinear, rows: int, columns: int) -> ExpertLinear:
    return linear if _shape(linear) == (rows, columns) else PaddedExpertLinear(linear, rows, columns)
