"""What stands between the matrix products of a layer: norms, rotary positions, gates and activations.

Little arithmetic and much memory traffic: a layer asks one object for all of it, so that the same can be computed in
fewer passes over memory (engine.compiled). Shapes: S tokens, H query heads, K key heads, D channels of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.model.layers import ExpertNorm
from engine.model.stream import Run

# heads float32 [S, heads, D], cosines and sines float32 [S, n] -> rotated heads
Rotation = Callable[[Tensor, Tensor, Tensor], Tensor]
# [S, n] -> float32 [S, m]
Activation = Callable[[Tensor], Tensor]


class Pointwise:
    """Operator by operator: the reference of every other way."""

    def norm(self, x: Tensor, norm: ExpertNorm, runs: Sequence[Run], dtype: torch.dtype) -> Tensor:
        """The residual stream, float32 [S, n], normed and scaled by modality, as a linear takes it: [S, n]."""
        normed: Tensor = norm(x, runs)
        return normed.to(dtype)

    def heads(
        self,
        heads: tuple[Tensor, Tensor],
        norms: tuple[ExpertNorm, ExpertNorm],
        runs: Sequence[Run],
        rotary: tuple[Tensor, Tensor],
        rotation: Rotation,
    ) -> tuple[Tensor, Tensor]:
        """Queries [S, H, D] and keys [S, K, D], normed head by head in float32, rotated, and back in their dtype."""
        query, key = (
            rotation(norm(x.float(), runs), *rotary).to(x.dtype) for x, norm in zip(heads, norms, strict=True)
        )
        return query, key

    def gate(self, mixed: Tensor, gate: Tensor) -> Tensor:
        """What attention gave, [S, H, D], times the sigmoid of one number a head, [S, H]: [S, H D], in the
        dtype of the latter."""
        gated = mixed.float() * torch.sigmoid(gate.float())[:, :, None]
        return gated.to(gate.dtype).flatten(1)

    def activation(self, wide: Tensor, activation: Activation) -> Tensor:
        """An activation, computed in float32, in the dtype of what it is applied to."""
        return activation(wide).to(wide.dtype)


PLAIN = Pointwise()
