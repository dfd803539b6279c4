"""The first step of an exchange: inside a group of ranks attention is split by heads (DeepSpeed-Ulysses, 2309.14509).

One all-to-all turns "my tokens, all heads" into "the group's tokens, my heads" for q, k and v together; one more brings
the outcome back. Every rank then has the same work, whatever its tokens see.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.exchange.link import Link
from engine.exchange.plan import LayerPlan


class HeadExchange:
    """The split by heads over the group of `link`'s rank; with a Ulysses degree of 1 nothing moves."""

    def __init__(self, plan: LayerPlan, link: Link) -> None:
        self._link, self._degree = link, plan.layout.ulysses
        peers, self._own = plan.layout.peers(link.rank), plan.tokens[link.rank]
        self._theirs = [tokens if rank in peers else 0 for rank, tokens in enumerate(plan.tokens)]
        self._mine = [self._own if rank in peers else 0 for rank in range(link.world_size)]

    def outward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q [s, H, D], k and v [s, K, D] of this rank's s tokens -> [S, H / U, D], [S, K / U, D] of the group's S."""
        if self._degree == 1:
            return q, k, v
        by_peer = [torch.unflatten(x, 1, (self._degree, -1)).transpose(0, 1) for x in (q, k, v)]
        widths = [x.shape[2] for x in by_peer]
        packed = torch.cat(by_peer, dim=2).flatten(0, 1)
        received = packed.new_empty(sum(self._theirs), *packed.shape[1:])
        self._link.all_to_all(received, packed, self._theirs, self._mine)
        query, key, value = torch.split(received, widths, dim=1)
        return query, key, value

    def homeward(self, mixed: Tensor) -> Tensor:
        """[S, H / U, D] of the group's tokens -> [s, H, D] of this rank's."""
        if self._degree == 1:
            return mixed
        received = mixed.new_empty(sum(self._mine), *mixed.shape[1:])
        self._link.all_to_all(received, mixed, self._mine, self._theirs)
        return torch.unflatten(received, 0, (self._degree, self._own)).transpose(0, 1).flatten(1, 2)
