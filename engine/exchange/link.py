"""How a rank reaches the other ranks of its block: one collective, counted by what it is given to send.

A hybrid exchange talks to some ranks of the block only. It uses the block's own all-to-all with nothing for the others,
which NCCL leaves out, so that no further process groups are needed: each would cost a communicator's memory, and all
ranks would have to make all of them in the same order.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor

from hhray.errors import EngineFault


class Link(ABC):
    """Rank `rank` of a block of `world_size`; `bytes_sent` counts what went to other ranks since it was made."""

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank, self.world_size = rank, world_size
        self.bytes_sent = 0

    def all_to_all(self, received: Tensor, sent: Tensor, receive_rows: Sequence[int], send_rows: Sequence[int]) -> None:
        """Send each rank its rows of `sent`, in order, and fill `received` with what each sends, in order.

        Args:
            received: [sum of receive_rows, ...], contiguous, of the dtype of `sent`.
            sent: [sum of send_rows, ...].
            receive_rows, send_rows: one number a rank, this one too; they may differ, and be 0.
        """
        self._move(received, sent.contiguous(), list(receive_rows), list(send_rows))
        elsewhere = sum(send_rows) - send_rows[self.rank]
        self.bytes_sent += elsewhere * math.prod(sent.shape[1:]) * sent.element_size()

    @abstractmethod
    def _move(self, received: Tensor, sent: Tensor, receive_rows: list[int], send_rows: list[int]) -> None: ...


class GroupLink(Link):
    """Over a process group: the one given, or that of all ranks. A block of one rank needs none."""

    def __init__(self, rank: int = 0, world_size: int = 1, group: dist.ProcessGroup | None = None) -> None:
        super().__init__(rank, world_size)
        self._group = group

    def _move(self, received: Tensor, sent: Tensor, receive_rows: list[int], send_rows: list[int]) -> None:
        dist.all_to_all_single(received, sent, receive_rows, send_rows, group=self._group)


class DryLink(Link):
    """Counts as a real one and moves nothing: for meta tensors, to know bytes without weights, GPUs or peers."""

    def _move(self, received: Tensor, sent: Tensor, receive_rows: list[int], send_rows: list[int]) -> None:
        if (len(received), len(sent)) != (sum(receive_rows), sum(send_rows)):
            raise EngineFault(
                f"an all-to-all of {send_rows} rows out and {receive_rows} in was given {len(sent)} and "
                f"{len(received)} rows; this is a fault of the exchange, report it"
            )
