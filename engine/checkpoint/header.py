"""The header of one safetensors file, read and checked without the data and without torch.

A file is 8 bytes of header length, a JSON header {name: {dtype, shape, data_offsets}}, then the data without holes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MAX_HEADER_BYTES = 100_000_000
# the file's name of a dtype -> torch's name, bytes
DTYPES = {
    "F32": ("float32", 4),
    "BF16": ("bfloat16", 2),
    "F16": ("float16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "I8": ("int8", 1),
}
EIGHT_BIT_CODES = ("F8_E4M3", "I8")
NOTE = ".comfy_quant"  # ends the names of notes that other programs keep about a layer: JSON in bytes, not read
NOTE_CODE = "U8"


class TensorFileError(Exception):
    """A file that is no whole safetensors file; the message says why."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: `offset` bytes into `path`; `code` is the file's name of its dtype."""

    name: str
    path: Path
    code: str
    shape: tuple[int, ...]
    offset: int

    @property
    def dtype(self) -> torch.dtype:
        """The dtype it is stored as. Needs torch, which nothing else here does."""
        import torch  # noqa: PLC0415 the server's driver reads headers without torch

        dtype = getattr(torch, DTYPES[self.code][0])
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"torch has no dtype {dtype}")
        return dtype

    @property
    def is_eight_bit(self) -> bool:
        """Whether it is stored in 8 bits, to be multiplied with a scale."""
        return self.code in EIGHT_BIT_CODES

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
        return self.num_elements * (1 if self.code == NOTE_CODE else DTYPES[self.code][1])


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
    stored = _checked(path, header, 8 + length, size)
    return {name: tensor for name, tensor in stored.items() if tensor.code != NOTE_CODE}


def _checked(path: Path, header: dict[str, Any], begin: int, size: int) -> dict[str, StoredTensor]:
    tensors, spans = {}, []
    for name, entry in header.items():
        try:
            code, shape, (first, last) = entry["dtype"], tuple(map(int, entry["shape"])), entry["data_offsets"]
            if not isinstance(first, int) or not isinstance(last, int):
                raise TypeError
        except (KeyError, TypeError, ValueError):
            raise TensorFileError(f"is corrupt: its header's entry of {name} makes no sense") from None
        if code not in DTYPES and not (code == NOTE_CODE and name.endswith(NOTE)):
            raise TensorFileError(f"stores {name} as {code}; expected one of {', '.join(DTYPES)}")
        tensors[name] = StoredTensor(name, path, code, shape, begin + first)
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


def is_linear(stored: StoredTensor) -> bool:
    """Whether this is a linear of a block: those, and only those, are quantised (model specification 1.2)."""
    return stored.name.startswith("block.") and len(stored.shape) == 2
