"""One safetensors file: its header read and checked without the data, and its rows read straight from disk.

A file is 8 bytes of header length, a JSON header {name: {dtype, shape, data_offsets}}, then the data without holes.
Reading is by rows into one small buffer a thread, so that host memory does not grow with the file: a memory map would
count against the process until the kernel takes its pages back.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

BUFFER_BYTES = 8 * 1024**2
MAX_HEADER_BYTES = 100_000_000
DTYPES = {
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F8_E4M3": torch.float8_e4m3fn,
    "I8": torch.int8,
}
DTYPE_CODES = {dtype: code for code, dtype in DTYPES.items()}


class TensorFileError(Exception):
    """A file that is no whole safetensors file; the message says why."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: `offset` bytes into `path`."""

    name: str
    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def rows(self) -> int:
        """Size of dimension 0; 1 for a scalar."""
        return self.shape[0] if self.shape else 1

    @property
    def row_elements(self) -> int:
        return math.prod(self.shape[1:])

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return self.num_elements * self.dtype.itemsize


def read_header(path: Path) -> dict[str, StoredTensor]:
    """All tensors of a file by name, in the order of the header.

    Raises:
        TensorFileError: the file is missing, truncated, no safetensors file, or has tensors of a dtype unknown here.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= MAX_HEADER_BYTES:
                raise TensorFileError("is no safetensors file (its header's length makes no sense)")
            if 8 + length > size:
                raise TensorFileError(f"is truncated: its header alone needs {8 + length:,} bytes, it has {size:,}")
            header = json.loads(file.read(length))
    except OSError as error:
        raise TensorFileError(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise TensorFileError(f"is corrupt: its header is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise TensorFileError("is corrupt: its header is no JSON object")
    header.pop("__metadata__", None)
    return _checked(path, header, 8 + length, size)


def _checked(path: Path, header: dict[str, Any], begin: int, size: int) -> dict[str, StoredTensor]:
    tensors, spans = {}, []
    for name, entry in header.items():
        try:
            code, shape, (first, last) = entry["dtype"], tuple(map(int, entry["shape"])), entry["data_offsets"]
            if not isinstance(first, int) or not isinstance(last, int):
                raise TypeError
        except (KeyError, TypeError, ValueError):
            raise TensorFileError(f"is corrupt: its header's entry of {name} makes no sense") from None
        if code not in DTYPES:
            raise TensorFileError(f"stores {name} as {code}; expected one of {', '.join(DTYPES)}")
        tensors[name] = StoredTensor(name, path, DTYPES[code], shape, begin + first)
        if min((0, *shape)) < 0 or last - first != tensors[name].num_bytes:
            raise TensorFileError(f"is corrupt: {name} of shape {list(shape)} cannot lie in {last - first:,} bytes")
        spans.append((first, last))
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise TensorFileError(f"is corrupt: its tensors overlap or leave a hole at byte {begin + end:,}")
        end = last
    if begin + end != size:
        state = "is truncated" if size < begin + end else "is corrupt"
        raise TensorFileError(f"{state}: its tensors end at byte {begin + end:,}, the file at {size:,}")
    return tensors


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
