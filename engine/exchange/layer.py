"""Attention over several ranks as one rank sees it: the one interface of all exchanges."""

from __future__ import annotations

from torch import Tensor

from engine.attention import Kernel, attend_blocks
from engine.exchange.heads import HeadExchange
from engine.exchange.keys import KeyExchange
from engine.exchange.link import Link
from engine.exchange.plan import LayerPlan


class LayerExchange:
    """One kind of layer's attention of this rank's queries, over keys that may lie on other ranks.

    Ulysses, key gather, halo exchange and their hybrids differ in the plan only. On one rank nothing moves. `kernel`
    computes what is to be computed here, once all keys it needs are.
    """

    def __init__(self, plan: LayerPlan, link: Link, kernel: Kernel = attend_blocks) -> None:
        self._heads, self._keys, self._kernel = HeadExchange(plan, link), KeyExchange(plan, link), kernel
        self._blocks = plan.row_blocks(link.rank // plan.layout.ulysses)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [s, H, D], k and v [s, K, D] of this rank's tokens -> [s, H, D]; all ranks of the block call together."""
        q, k, v = self._heads.outward(q, k, v)
        k, v = self._keys.fetch(k, v)
        mixed = self._kernel(q, k, v, self._blocks)
        del q, k, v  # what others sent: on the way home their room is needed
        return self._heads.homeward(mixed)
