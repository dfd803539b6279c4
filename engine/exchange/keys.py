"""The second step of an exchange: every group of ranks fetches the keys and values that its queries see and it lacks.

Where queries see all of their clip this is an all-gather, cheap because grouped-query attention has few key heads; in
layers that see near frames only it is a halo exchange. Both are one all-to-all whose parts follow from the plan.
Nothing is padded, and any number of ranks will do. Audio and text queries see everything: the ranks that hold them
fetch all of the clip in local layers too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.exchange.link import Link
from engine.exchange.plan import LayerPlan
from engine.local_attention import rows_of


class KeyExchange:
    """What the group of `link`'s rank fetches from all others and sends them; with one group nothing moves.

    Ranks with the same place in their groups work on the same heads, and talk to each other only.
    """

    def __init__(self, plan: LayerPlan, link: Link) -> None:
        self._link, self._num_groups = link, plan.layout.gather
        group = link.rank // plan.layout.ulysses
        first = plan.held[group].start
        self._sent: list[range] = []  # rows of this group's keys, target by target
        self._send_rows, self._receive_rows = [0] * link.world_size, [0] * link.world_size
        for other, rank in enumerate(plan.layout.counterparts(link.rank)):
            out = plan.fetched(group, other)
            self._sent += [range(part.start - first, part.stop - first) for part in out]
            self._send_rows[rank] = sum(map(len, out))
            self._receive_rows[rank] = sum(map(len, plan.fetched(other, group)))

    def fetch(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k and v [S, K / U, D] of the group's tokens -> those of all positions it sees, in stream order."""
        if self._num_groups == 1:
            return k, v
        packed = rows_of(torch.cat([k, v], dim=1), self._sent)
        received = packed.new_empty(sum(self._receive_rows), *packed.shape[1:])
        self._link.all_to_all(received, packed, self._receive_rows, self._send_rows)
        keys, values = torch.split(received, [k.shape[1], v.shape[1]], dim=1)
        return keys, values
