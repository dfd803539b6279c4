"""How the ranks of a gang meet: rank 0 opens a store on a port the system picks, the others are told where."""

from __future__ import annotations

import socket
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined] # a re-export of the C++ module

from engine.block_groups import BlockGroups
from hhray.errors import EngineFault

# A collective that waits this long is lost; the coordinator's watchdog is to act long before.
COLLECTIVE_TIMEOUT = timedelta(minutes=30)
BACKLOG = 64
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


class Rendezvous:
    """One rank's membership of the process groups, of all ranks and of blocks; with one rank there is none."""

    def __init__(self, rank: int, world_size: int, device: torch.device) -> None:
        self._rank, self._world_size, self._device = rank, world_size, device
        self._store: TCPStore | None = None
        self._groups: BlockGroups | None = None

    @property
    def groups(self) -> BlockGroups:
        """The groups of the gang's blocks.

        Raises:
            EngineFault: the ranks have not met.
        """
        if self._groups is None:
            raise EngineFault(f"rank {self._rank} has not met its peers; join first")
        return self._groups

    def open(self, host: str) -> int:
        """Rank 0: open the store on `host`'s interface; returns its port.

        The system picks the port as it binds it, so none can be lost to another process; the socket is made here
        because the store's own would listen on every interface.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind((host, 0))
        listener.listen(BACKLOG)
        port = int(listener.getsockname()[1])
        self._store = TCPStore(
            host,
            port,
            self._world_size,
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),  # the store owns the socket now
        )
        return port

    def join(self, host: str, port: int, timeout_seconds: float) -> None:
        """Form the groups with the ranks that meet at (host, port), and make one exchange in each to warm it.

        Raises:
            EngineFault: not all ranks came within `timeout_seconds`.
        """
        try:
            if self._world_size > 1:
                self._meet(host, port, timedelta(seconds=timeout_seconds))
            self._groups = BlockGroups(self._rank, self._world_size, self._device, COLLECTIVE_TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise EngineFault(
                f"rank {self._rank} did not meet its {self._world_size - 1} peers at {host}:{port}: {error}"
            ) from error

    def _meet(self, host: str, port: int, limit: timedelta) -> None:
        if self._store is None:
            self._store = TCPStore(host, port, self._world_size, is_master=False, timeout=limit)
        self._store.set(f"here/{self._rank}", "")
        self._store.wait([f"here/{rank}" for rank in range(self._world_size)], limit)
        # All are here: forming the groups is quick, although their own timeout is that of collectives.
        dist.init_process_group(
            BACKENDS[self._device.type],
            store=self._store,
            rank=self._rank,
            world_size=self._world_size,
            timeout=COLLECTIVE_TIMEOUT,
        )

    def close(self) -> None:
        """Leave the groups."""
        if self._world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()
        self._store = self._groups = None
