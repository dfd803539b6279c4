"""Attention over parts of the keys put together: the parts' outcomes weighted by how much of the softmax they hold.

With o_i the outcome over part i and l_i the logarithm of the sum of its exponentials, the softmax over all parts gives
sum_i exp(l_i - l) o_i, where l = log sum_i exp(l_i) (FlashAttention-2, 2307.08691, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def merge_partials(outputs: Sequence[Tensor], lses: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Attention over the union of parts of the keys that do not overlap, in float32.

    Args:
        outputs: [..., D] of each part, of any float type.
        lses: [...] of each part: natural logarithm of the sum of exponentials of its scores. A part with no keys that
            are seen has -inf, and finite numbers as output; not all parts may.

    Returns:
        float32 [..., D], and its own float32 logarithms [...], so that merged parts can be merged again.
    """
    stacked = torch.stack([lse.float() for lse in lses])
    weights = torch.softmax(stacked, 0)[..., None]
    merged = weights[0] * outputs[0].float()
    for weight, output in zip(weights[1:], outputs[1:], strict=True):
        merged = torch.addcmul(merged, weight, output.float())
    return merged, torch.logsumexp(stacked, 0)
