"""Softmax attention over packed items: every token sees all tokens of its own item and no other.

One function. On CUDA with a working xformers extension all items run in one variable-length kernel; otherwise torch's
own attention runs item by item. xformers is imported only for CUDA tensors: its import takes seconds.
"""

from __future__ import annotations

import functools
import importlib
import logging
import warnings
from collections.abc import Sequence
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)


def attend(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int]) -> Tensor:
    """softmax(q k^T / sqrt(D)) v within each item.

    Args:
        q: [S, H, D]; query head n reads key head n // (H / K).
        k, v: [S, K, D], of the dtype of q.
        lengths: tokens of each item, summing to S.

    Returns:
        [S, H, D] in the dtype of q.
    """
    if q.is_cuda and (ops := xformers_ops()) is not None:
        return _attend_packed(ops, q, k, v, lengths)
    sizes = list(lengths)
    outputs = [
        attend_all(*item)
        for item in zip(torch.split(q, sizes), torch.split(k, sizes), torch.split(v, sizes), strict=True)
    ]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def attend_all(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v of queries [s, H, D] over all keys and values [S, K, D]: [s, H, D].

    On a CPU probabilities stay in float32 also for bfloat16 inputs, as specified (1.4); CUDA kernels round them.
    """
    query, key, value = (
        x.transpose(0, 1)[None] for x in ((q, k, v) if q.is_cuda else (q.float(), k.float(), v.float()))
    )
    mixed = F.scaled_dot_product_attention(query, key, value, enable_gqa=q.shape[1] != k.shape[1])
    return mixed[0].transpose(0, 1).to(q.dtype)


def _attend_packed(ops: ModuleType, q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int]) -> Tensor:
    tokens, heads, dim = q.shape
    groups = k.shape[1]
    mask = ops.fmha.BlockDiagonalMask.from_seqlens(list(lengths))
    query = q.reshape(1, tokens, groups, heads // groups, dim)
    key, value = (x[None, :, :, None].expand(1, tokens, groups, heads // groups, dim) for x in (k, v))
    mixed: Tensor = ops.memory_efficient_attention(query, key, value, attn_bias=mask)
    return mixed.reshape(tokens, heads, dim)


@functools.cache
def xformers_ops() -> ModuleType | None:
    """The module `xformers.ops` when its kernels run on this machine's GPU, else None; probed once a process."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ops = importlib.import_module("xformers.ops")
            probe = torch.zeros(2, 1, 16, dtype=torch.bfloat16, device="cuda")
            _attend_packed(ops, probe, probe, probe, (1, 1))
    except (ImportError, OSError, NotImplementedError, RuntimeError) as error:
        logger.info("xformers attention is not available, using torch's: %s", error)
        return None
    return ops
