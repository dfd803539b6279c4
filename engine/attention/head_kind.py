"""What attention kernels are built for, and what each looks like to those who call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.attention.bias import Biases


@dataclass(frozen=True, slots=True)
class HeadKind:
    """What a kernel is built for: a device, a float type, query heads, the key heads they share, channels of a head.

    `int8`: queries and keys may be rounded to 8 bits.
    """

    device: torch.device
    dtype: torch.dtype
    heads: int
    kv_heads: int
    head_dim: int
    int8: bool = False

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        rounded = ", queries and keys in int8" if self.int8 else ""
        return f"{name} on {self.device.type}, {self.heads} heads over {self.kv_heads} of {self.head_dim}{rounded}"

    def random(self, num_queries: int, num_keys: int) -> tuple[Tensor, Tensor, Tensor]:
        """Normal q [queries, H, D], k and v [keys, K, D], the same each time."""
        generator = torch.Generator(self.device).manual_seed(0)
        shapes = ((num_queries, self.heads), (num_keys, self.kv_heads), (num_keys, self.kv_heads))
        q, k, v = (
            torch.randn(*shape, self.head_dim, generator=generator, device=self.device, dtype=self.dtype)
            for shape in shapes
        )
        return q, k, v


class Backend(Protocol):
    """Attention by some kernel."""

    @property
    def name(self) -> str:
        """As /healthz tells it."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, biases: Biases) -> Tensor:
        """q [s, H, D], k and v [S, K, D] of one float type -> [s, H, D] of that type; biases of s queries, S keys."""
