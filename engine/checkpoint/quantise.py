"""Write a checkpoint with 8-bit linears: float8 e4m3 with one scale a tensor, or int8 with one scale a row.

float8 is the public layout (key `<weight>.__fp8_scale`, float32 [1]; a weight is value x scale); int8 is ours, in the
same manner, for cards without float8 units: `<weight>.__int8_scale`, float32 [rows]. All other tensors are copied as
they are stored. Each tensor is read twice in pieces, once for its largest value, once to be written, so that memory
does not grow with it. The files appear all at once: they are written to a directory beside the target, then renamed.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from engine.byte_progress import Advance, byte_progress
from engine.checkpoint.capabilities import FILE_NAME
from engine.checkpoint.contents import Contents, nearest_known, read_contents, require
from engine.checkpoint.header import StoredTensor, TensorFileError, is_linear
from engine.checkpoint.names import FP8_SCALE, INT8_SCALE
from engine.checkpoint.shapes import expected_tensors
from engine.checkpoint.tensor_file import DTYPE_CODES, read_rows
from engine.eight_bit import DTYPES, LARGEST, coded
from hhray.errors import ConfigError
from hhray.memory_size import Format as StoredAs

INDEX_NAME = "model.safetensors.index.json"


class Format(StrEnum):
    """What linears are written as."""

    FP8 = "fp8"
    INT8 = "int8"

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[StoredAs(self)]

    @property
    def largest(self) -> float:
        """The largest value a scale maps the largest weight to."""
        return LARGEST[StoredAs(self)]

    @property
    def suffix(self) -> str:
        return FP8_SCALE if self is Format.FP8 else INT8_SCALE


@dataclass(frozen=True, slots=True)
class QuantiseReport:
    """What was written. Relative errors are ||q scale - w|| / ||w|| of each quantised tensor, in float64."""

    folder: str
    preset: str
    bytes_before: int
    bytes_after: int
    errors: dict[str, float]

    @property
    def mean_error(self) -> float:
        return sum(self.errors.values()) / len(self.errors)

    @property
    def worst(self) -> str:
        """Name of the tensor with the largest error."""
        return max(self.errors, key=lambda name: self.errors[name])


def quantise(source: Path, target: Path, kind: Format) -> QuantiseReport:
    """Write the checkpoint of folder `source` to the new folder `target`, shard by shard under the same file names.

    Raises:
        ConfigError: the target exists, the source is no known network or quantised already, or a file is corrupt.
    """
    if target.exists():
        raise ConfigError(f"{target} exists; give the name of a folder that does not")
    contents = read_contents(source)
    size, _ = nearest_known(contents)
    require(contents, expected_tensors(size), size.name)
    if any(stored.dtype.itemsize == 1 for stored in contents.tensors.values()):
        raise ConfigError(f"{source} is quantised already; quantise the bfloat16 or float32 weights it was made from")
    errors: dict[str, float] = {}
    placed: dict[str, str] = {}
    with _appearing(target) as folder, byte_progress(f"quantise to {kind}", contents.num_bytes) as advance:
        for path in contents.files:
            stored = [entry for entry in contents.tensors.values() if entry.path == path]
            try:
                shard = _Shard(stored, kind)
                with (folder / path.name).open("wb") as file:
                    errors |= shard.write(file, advance)
            except TensorFileError as error:
                raise ConfigError(f"{path} {error}") from error
            placed |= dict.fromkeys(shard.entries, path.name)
        written = sum(path.stat().st_size for path in folder.iterdir())
        index = {"metadata": {"total_size": written}, "weight_map": placed}
        (folder / INDEX_NAME).write_text(json.dumps(index, indent=1), encoding="utf-8")
        _copy_descriptions(contents, folder)
    return QuantiseReport(str(target), size.name, contents.num_bytes, written, errors)


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A directory beside the target that becomes the target when all went well, and goes away when not."""
    folder = target.with_name(f".{target.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
    folder.mkdir(parents=True)
    try:
        yield folder
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder)
        raise


def _copy_descriptions(contents: Contents, folder: Path) -> None:
    for name in (FILE_NAME, "config.json"):
        if (contents.folder / name).is_file():
            shutil.copy(contents.folder / name, folder / name)


class _Shard:
    """One file to be written. `entries` are its tensors in order: name -> (dtype, shape)."""

    def __init__(self, stored: list[StoredTensor], kind: Format) -> None:
        """Reads the linears once, for their scales."""
        self.kind = kind
        self.stored = {entry.name: entry for entry in stored}
        self.scales = {entry.name: _scale(entry, kind) for entry in stored if is_linear(entry)}
        entries: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        for entry in stored:
            quantised = entry.name in self.scales
            entries[entry.name] = (kind.dtype if quantised else entry.dtype, entry.shape)
            if quantised:
                entries[entry.name + kind.suffix] = (torch.float32, tuple(self.scales[entry.name].shape))
        # Wide dtypes first keeps every tensor aligned to its own size.
        self.entries = dict(sorted(entries.items(), key=lambda item: (-item[1][0].itemsize, item[0])))

    def write(self, file: BinaryIO, advance: Advance) -> dict[str, float]:
        """The whole file; returns the relative error of each quantised tensor."""
        file.write(self._header())
        errors = {}
        for name in self.entries:
            if name in self.scales:
                errors[name] = self._write_linear(file, self.stored[name], advance)
            elif name in self.stored:
                for _, piece in read_rows(self.stored[name]):
                    file.write(_raw(piece))
                advance(self.stored[name].num_bytes)
            else:
                file.write(_raw(self.scales[name.removesuffix(self.kind.suffix)]))
        return errors

    def _header(self) -> bytes:
        header, end = {}, 0
        for name, (dtype, shape) in self.entries.items():
            begin, end = end, end + math.prod(shape) * dtype.itemsize
            header[name] = {"dtype": DTYPE_CODES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def _write_linear(self, file: BinaryIO, stored: StoredTensor, advance: Advance) -> float:
        scale = self.scales[stored.name].reshape(-1, 1).expand(stored.rows, 1)
        missed, total = 0.0, 0.0
        for rows, piece in read_rows(stored):
            exact = piece.float()
            values = coded(exact, scale[rows], StoredAs(self.kind))
            file.write(_raw(values))
            missed += _square_sum(values.float() * scale[rows] - exact)
            total += _square_sum(exact)
            advance(piece.numel() * piece.element_size())
        return math.sqrt(missed / total) if total else 0.0


def _scale(stored: StoredTensor, kind: Format) -> Tensor:
    """float32 [1] (float8) or [rows] (int8); 1 where all weights are zero."""
    largest = torch.cat([piece.float().abs().amax(1) for _, piece in read_rows(stored)])
    if not bool(torch.isfinite(largest).all()):
        raise TensorFileError(f"is corrupt: {stored.name} holds values that are not finite")
    if kind is Format.FP8:
        largest = largest.amax().reshape(1)
    return torch.where(largest > 0, largest / kind.largest, 1.0)


def _square_sum(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2


def _raw(values: Tensor) -> memoryview:
    return values.contiguous().view(torch.uint8).numpy().data
