"""Process groups of a gang's blocks: made once, in one order, and warmed, so that a clip can go to any of them.

All ranks make all groups, one after another, as torch demands; a rank then uses those it is in. Different clips can run
on different blocks at the same time, since their groups share no collective.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from engine.exchange import GroupLink
from hhray.blocks import Block, aligned_blocks, smallest_block
from hhray.errors import ConfigError


class BlockGroups:
    """The groups of rank `rank` of a gang of `world_size`, whose default group exists; one rank needs none.

    Every group is warmed by an all-to-all: it connects all pairs of ranks, so that NCCL takes its memory now, before
    anything is planned with it, and all that follows needs no more: exchanges are all-to-alls, and batches of sends
    between any two ranks of a group use its connections.
    """

    def __init__(self, rank: int, world_size: int, device: torch.device, timeout: timedelta) -> None:
        self.rank, self.world_size = rank, world_size
        self.blocks = aligned_blocks(world_size)
        self._groups: dict[Block, dist.ProcessGroup | None] = {}
        for block in self.blocks:
            if block.num_ranks == 1:
                continue
            whole = block.num_ranks == world_size
            group = None if whole else dist.new_group(list(block.ranks), timeout=timeout)
            if rank in block:
                self._groups[block] = group
                sent = torch.zeros(block.num_ranks, device=device)
                dist.all_to_all_single(torch.empty_like(sent), sent, group=group)

    def check(self, block: Block) -> None:
        """Whether the gang has that block.

        Raises:
            ConfigError: it has not.
        """
        if block not in self.blocks:
            raise ConfigError(
                f"a gang of {self.world_size} ranks has no block {block}; it has {', '.join(map(str, self.blocks))}"
            )

    def link(self, block: Block) -> GroupLink:
        """How this rank reaches the others of a block.

        Raises:
            ConfigError: the gang has no such block, or this rank is not in it.
        """
        self.check(block)
        if self.rank not in block:
            raise ConfigError(f"rank {self.rank} is not in block {block}; only the ranks of a block share its work")
        return GroupLink(self.rank - block.first, block.num_ranks, self._groups.get(block))

    def hand_over(self, tensor: Tensor, source: int, targets: Sequence[int]) -> None:
        """Fill `tensor` on the ranks `targets` with what it is on rank `source`; nobody else needs to call this.

        Sends and receives in the group of the smallest block that has all of them; they need not be all of its ranks.
        """
        group = self._groups[smallest_block(self.world_size, (source, *targets))]
        if self.rank == source:
            moves = [dist.P2POp(dist.isend, tensor, target, group) for target in targets]
        else:
            moves = [dist.P2POp(dist.irecv, tensor, source, group)]
        # a batch uses the group's own communicator; a single send would make NCCL open another for the pair
        for work in dist.batch_isend_irecv(moves):
            work.wait()
