"""Building blocks: linears and norms with one expert per modality, and the two activations.

Experts are stacked along dimension 0 in the order video, audio, text. A layer with one expert is an ordinary layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.checkpoint.names import FP8_SCALE, INT8_SCALE
from engine.eight_bit import expanded
from engine.model.stream import Run

NORM_EPS = 1e-6
CLAMP = 7.0
SIGMOID_SLOPE = 1.702


class ExpertLinear(nn.Module):
    """y = x W^T without bias, W that of the token's modality. `weight` is [experts * rows, columns]."""

    def __init__(self, columns: int, rows: int, experts: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.experts = experts
        self.weight = nn.Parameter(torch.empty(experts * rows, columns, dtype=dtype))

    def forward(self, x: Tensor, runs: Sequence[Run]) -> Tensor:
        """[S, columns] -> [S, rows], in the dtype of `weight`."""
        if self.experts == 1:
            return F.linear(x, self.expert(0))
        parts = torch.split(x, [run.length for run in runs])
        return torch.cat([F.linear(part, self.expert(run.modality)) for part, run in zip(parts, runs, strict=True)])

    def expert(self, index: int) -> Tensor:
        """The weights of one expert, [rows, columns]."""
        return self.weight.chunk(self.experts)[index]


class EightBitExpertLinear(ExpertLinear):
    """An ExpertLinear whose weights stay in 8 bits; those of one expert are expanded for the product, then dropped.

    `weight` lies on the meta device: it says shape and compute dtype, and takes no memory. In the state there is, under
    the published names, `weight` in 8 bits; and its scale, which is no parameter.
    """

    scales: Tensor

    def __init__(self, values: Tensor, scales: Tensor, experts: int, dtype: torch.dtype) -> None:
        """`values` int8 or float8_e4m3fn [experts * rows, columns]; `scales` float32 [1] or [experts * rows]."""
        nn.Module.__init__(self)
        self.experts = experts
        self.weight = torch.empty(values.shape, dtype=dtype, device="meta")  # type: ignore[assignment]
        self.values = nn.Parameter(values, requires_grad=False)
        self.register_buffer("scales", scales.float().reshape(-1, 1))

    def expert(self, index: int) -> Tensor:
        scales = self.scales if len(self.scales) == 1 else self.scales.chunk(self.experts)[index]
        return expanded(self.values.chunk(self.experts)[index], scales, self.weight.dtype)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        suffix = INT8_SCALE if self.values.dtype is torch.int8 else FP8_SCALE
        name = f"{prefix}weight"
        destination[name], destination[name + suffix] = (
            tensor if keep_vars else tensor.detach() for tensor in self._stored()
        )

    def _stored(self) -> tuple[Tensor, Tensor]:
        """Values and scales as files have them."""
        return self.values, self.scales.flatten()


class ExpertNorm(nn.Module):
    """RMS norm over the last dimension in float32, scaled by 1 + w of the token's modality. `weight` is [E * dim]."""

    def __init__(self, dim: int, experts: int) -> None:
        super().__init__()
        self.dim, self.experts = dim, experts
        self.weight = nn.Parameter(torch.empty(experts * dim, dtype=torch.float32))

    def forward(self, x: Tensor, runs: Sequence[Run]) -> Tensor:
        """float32 [S, ..., dim] -> float32, same shape."""
        scales = (1 + self.weight).chunk(self.experts)
        if self.experts == 1:
            return F.rms_norm(x, (self.dim,), scales[0], NORM_EPS)
        parts = torch.split(x, [run.length for run in runs])
        normed = [
            F.rms_norm(part, (self.dim,), scales[run.modality], NORM_EPS) for part, run in zip(parts, runs, strict=True)
        ]
        return torch.cat(normed)


def gelu7(x: Tensor) -> Tensor:
    """c sigmoid(1.702 c) with c = min(x, 7), in float32."""
    clamped = x.float().clamp(max=CLAMP)
    return clamped * torch.sigmoid(SIGMOID_SLOPE * clamped)


def swiglu7(x: Tensor) -> Tensor:
    """[S, 2 m] -> [S, m] in float32: even channels are the gate, odd channels the linear part.

    gate = min(even, 7), linear = clamp(odd, -7, 7); the result is gate sigmoid(1.702 gate) (linear + 1).
    """
    gate, linear = torch.unflatten(x.float(), 1, (-1, 2)).unbind(2)
    return _swiglu7(gate, linear)


def swiglu7_halves(x: Tensor) -> Tensor:
    """`swiglu7` of channels in another order, [S, 2 m] -> [S, m]: first all gates, then all linear parts."""
    gate, linear = x.float().chunk(2, dim=1)
    return _swiglu7(gate, linear)


def _swiglu7(gate: Tensor, linear: Tensor) -> Tensor:
    gate = gate.clamp(max=CLAMP)
    return gate * torch.sigmoid(SIGMOID_SLOPE * gate) * (linear.clamp(-CLAMP, CLAMP) + 1)
