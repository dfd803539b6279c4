"""torch's own attention, block of queries by block, told by xformers' biases what each sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attention.bias import Biases, seen_rows
from engine.attention.blocks import joined, rows_of
from engine.attention.merge import merge_partials

# q [s, H, D], k and v [S, K, D], all of them seen -> [s, H, D]
Whole = Callable[[Tensor, Tensor, Tensor], Tensor]
# q [1, H, s, D], k and v [1, K, S, D] -> outcome [1, H, s, D], float32 logarithms of sums of exponentials, s H numbers
Partial = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def attend_all(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v of queries [s, H, D] over all keys and values [S, K, D]: [s, H, D].

    On a CPU probabilities stay in float32 also for bfloat16 inputs, as specified (1.4); CUDA kernels round them.
    """
    query, key, value = (heads_first(x if x.is_cuda else x.float()) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(query, key, value, enable_gqa=q.shape[1] != k.shape[1])
    return mixed[0].transpose(0, 1).to(q.dtype)


@dataclass(frozen=True, slots=True)
class JoinedKeys:
    """One softmax of each block over all keys it sees, which are copied together where they lie apart.

    With torch's attention it takes any shape and float type; which of its kernels runs on a GPU torch decides.
    """

    name: str = "torch sdpa"
    attend: Whole = attend_all

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, biases: Biases) -> Tensor:
        mixed = []
        for rows, parts in seen_rows(biases, len(q), len(k)):
            seen = joined(parts)
            mixed.append(self.attend(rows_of(q, (rows,)), rows_of(k, seen), rows_of(v, seen)))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


@dataclass(frozen=True, slots=True)
class MergedParts:
    """One kernel for each range of keys that a block sees, the outcomes merged in float32; no key is copied."""

    name: str
    partial: Partial

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, biases: Biases) -> Tensor:
        mixed = []
        for rows, parts in seen_rows(biases, len(q), len(k)):
            query, seen = rows_of(q, (rows,)), joined(parts)
            partials = [self._over(query, rows_of(k, (part,)), rows_of(v, (part,))) for part in seen]
            whole = partials[0][0] if len(partials) == 1 else merge_partials(*zip(*partials, strict=True))[0]
            mixed.append(whole.to(q.dtype))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def _over(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """[s, H, D] of these keys, and float32 [s, H]."""
        query, key, value = (heads_first(x if x.is_cuda else x.float()) for x in (q, k, v))
        output, lse = self.partial(query, key, value)
        return output[0].transpose(0, 1), lse.reshape(q.shape[1], len(q)).T


def heads_first(x: Tensor) -> Tensor:
    """[s, H, D] -> [1, H, s, D], no copy."""
    return x.transpose(0, 1)[None]


def flash_cpu(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """torch's flash kernel for CPUs."""
    output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
    return output, lse


def flash_cuda(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """torch's FlashAttention-2 for NVIDIA GPUs; half precision."""
    output, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)
    return output, lse


def cudnn(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """cuDNN's attention; half precision. The logarithms come as [1, H, s, 1]."""
    output, lse, *_ = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)
    return output, lse
