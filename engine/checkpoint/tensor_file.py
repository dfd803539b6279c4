"""The data of one safetensors file: rows of a tensor read straight from disk.

Reading is by rows into one small buffer a thread, so that host memory does not grow with the file: a memory map would
count against the process until the kernel takes its pages back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from engine.checkpoint.header import DTYPES, StoredTensor, TensorFileError

BUFFER_BYTES = 8 * 1024**2
DTYPE_CODES = {getattr(torch, name): code for code, (name, _) in DTYPES.items()}


def read_rows(stored: StoredTensor, pinned: bool = False) -> Iterator[tuple[slice, Tensor]]:
    """The tensor in pieces of whole rows, first to last: (rows, host tensor [rows, row elements] of the stored dtype).

    Each piece lies in one reused buffer of about 8 MiB and is valid until the next is asked for. `pinned` buffers are
    copied to a CUDA device at full speed.

    Raises:
        TensorFileError: the file became shorter since its header was read, or the disk fails.
    """
    row_bytes = stored.row_elements * stored.dtype.itemsize
    if not stored.num_bytes:
        return
    step = min(max(1, BUFFER_BYTES // row_bytes), stored.rows)
    buffer = torch.empty(step * row_bytes, dtype=torch.uint8, pin_memory=pinned)
    view = buffer.numpy().data
    descriptor = os.open(stored.path, os.O_RDONLY)
    try:
        for first in range(0, stored.rows, step):
            rows = slice(first, min(first + step, stored.rows))
            num_bytes = (rows.stop - first) * row_bytes
            _fill(descriptor, view[:num_bytes], stored.offset + first * row_bytes, stored)
            yield rows, buffer[:num_bytes].view(stored.dtype).view(rows.stop - first, stored.row_elements)
    finally:
        os.close(descriptor)


def _fill(descriptor: int, view: memoryview, offset: int, stored: StoredTensor) -> None:
    done = 0
    while done < len(view):
        try:
            got = os.preadv(descriptor, [view[done:]], offset + done)
        except OSError as error:
            raise TensorFileError(f"cannot be read at {stored.name}: {error.strerror}") from error
        if not got:
            raise TensorFileError(f"ends within {stored.name}")
        done += got
