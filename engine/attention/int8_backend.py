"""Attention with queries and keys in 8 bits (SageAttention, 2410.02367): its arithmetic, and its authors' kernels.

Keys lose their mean over the tokens seen: a softmax does not notice, and what all keys have in common takes no bits.
Then queries are rounded to int8 with one scale for 128 tokens of a head, keys with one for 64. Scores and their softmax
are float32; values are float16. The two functions here are attention over all keys; `JoinedKeys` makes a backend of
them: each block of queries over the keys it sees, copied together where they lie apart.

Ranks that split a clip by tokens round other blocks of 128 and 64 than one rank does, so that layouts agree within the
error of rounding only, not to 1e-5 as with plain attention.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attention.torch_backends import JoinedKeys, attend_all, heads_first

QUERY_ROWS, KEY_ROWS = 128, 64  # tokens that share a scale
LARGEST = 127
LEAST_KEYS = 4096  # see attend_sage
MOST_ELEMENTS = 2**31 - 1  # the kernels count them in 32 bits
PACKAGE, SERIES = "sageattention", "1."

# of q [1, s, H, D], k and v [1, S, K, D] of one float type, tensor_layout, is_causal, smooth_k -> [1, s, H, D]
SageKernel = Callable[..., Tensor]


def attend_in_int8(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The arithmetic in plain torch, on any device: rounded numbers as floats. It is slower than attention in floats.

    Scores are sums of whole numbers below 2^24 times two scales, so floats add nothing to the kernels' int8 products.

    Args:
        q: [s, H, D]; query head n reads key head n // (H / K).
        k, v: [S, K, D], of the dtype of q, all of them seen.

    Returns:
        [s, H, D] in the dtype of q.
    """
    query, key = rounded(q.float(), QUERY_ROWS), rounded((k - k.mean(0)).float(), KEY_ROWS)
    value = v.to(torch.float16).float()
    query, key, value = (heads_first(x) for x in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, enable_gqa=q.shape[1] != k.shape[1])
    return mixed[0].transpose(0, 1).to(q.dtype)


def rounded(x: Tensor, rows: int) -> Tensor:
    """x [s, H, D] rounded to 127 steps to either side of 0, up to the largest number in each `rows` rows of a head."""
    blocks = F.pad(x, (0, 0, 0, 0, 0, -len(x) % rows)).view(-1, rows, *x.shape[1:])
    steps = blocks.abs().amax((1, 3), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny) / LARGEST
    return torch.round(blocks / steps).mul_(steps).flatten(0, 1)[: len(x)]


def attend_sage(kernel: SageKernel, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same by sageattention 1.0.6, whose kernels give neither a mask nor logarithms of sums.

    They take rows absent from the last 64 keys for keys whose score is 0. Here these rows are made: the mean key, which
    is 0 once the mean is taken away, with the mean value. As the mean of the scores is 0 then, the sum of S
    exponentials is S or more (Jensen's inequality), so that these rows weigh 63 / (63 + S) at most and draw the outcome
    towards the mean value by no more: 1.5 % for 4,096 keys, below which attention is plain, and costs little.

    Args, returns: see attend_in_int8.
    """
    rows, width = -(-len(k) // KEY_ROWS) * KEY_ROWS, q.shape[1] * q.shape[2]
    if len(k) < LEAST_KEYS or rows * k.shape[1] * k.shape[2] > MOST_ELEMENTS:
        return attend_all(q, k, v)
    key, value = k.new_zeros(rows, *k.shape[1:]), v.new_empty(rows, *v.shape[1:])
    torch.sub(k, k.mean(0), out=key[: len(k)])
    value[: len(v)], value[len(v) :] = v, v.mean(0)
    ways = {"tensor_layout": "NHD", "is_causal": False, "smooth_k": False}  # theirs would change the keys given
    most = MOST_ELEMENTS // width // QUERY_ROWS * QUERY_ROWS
    mixed = [kernel(part[None], key[None], value[None], **ways)[0] for part in torch.split(q, most)]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def plain_int8() -> JoinedKeys:
    """What runs in 8 bits on a CPU, and what the kernels are tested against."""
    return JoinedKeys("int8 in plain torch, slow", attend_in_int8)


def sage_int8() -> JoinedKeys:
    """The kernels of the package sageattention, in Triton.

    Raises:
        ImportError: it is not installed, or of a series other than 1: in series 2 values are in 8 bits too on some
            GPUs, which the quality gate has not measured.
    """
    version = importlib.metadata.version(PACKAGE)
    if not version.startswith(SERIES):
        raise ImportError(f"{PACKAGE} {version} is installed; the series {SERIES}x is meant: {PACKAGE}==1.0.6")
    kernel = importlib.import_module(f"{PACKAGE}.core").sageattn
    name = f"{PACKAGE} {version}, plain below {LEAST_KEYS} keys"
    return JoinedKeys(name, functools.partial(attend_sage, kernel))
