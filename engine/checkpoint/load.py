"""Stream a checkpoint to its device: each tensor is allocated there once, in its final dtype, and filled row by row.

Host memory beyond the result is one read buffer a thread. Files are read by several threads at once, tensor by tensor,
so that shards are read in parallel and a single large file is, too. Linears are wanted either in a float dtype: then
quantised ones are multiplied with their scales on the way; or in 8 bits: then those are kept as they are stored, and
others are quantised row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from engine.byte_progress import Advance, byte_progress
from engine.checkpoint.contents import Contents, read_contents, require
from engine.checkpoint.header import StoredTensor, TensorFileError, is_linear
from engine.checkpoint.names import FP8_SCALE, INT8_SCALE
from engine.checkpoint.tensor_file import read_rows
from engine.eight_bit import DTYPES, coded, row_scales
from hhray.errors import ConfigError
from hhray.memory_size import Format

THREADS = 4


def load_tensors(
    folder: Path,
    expected: dict[str, Tensor],
    device: torch.device,
    name: str,
    wanted: Collection[str] | None = None,
    eight_bit: Format | None = None,
    shown: bool = True,
) -> dict[str, Tensor]:
    """The tensors of a checkpoint on `device`.

    Args:
        folder: where the safetensors files are.
        expected: meta tensors of the whole network by name; their shapes must be the files', their dtypes are made.
        device, name: where the tensors go; the network's name, for messages.
        wanted: names to read; None: all of them. The whole checkpoint is checked in any case.
        eight_bit: what block linears that are in a float dtype become; None: all tensors are made as expected. The
            scales of 8-bit tensors are in the result under the files' names, float32 [1] or [rows].
        shown: whether a bar shows how far it is.

    Raises:
        ConfigError: tensors are missing, unexpected, misshapen, truncated or not finite; all are listed.
    """
    contents = read_contents(folder)
    require(contents, {key: tuple(tensor.shape) for key, tensor in expected.items()}, name)
    names = [key for key in contents.weights if wanted is None or key in wanted]
    total = sum(contents.tensors[key].num_bytes for key in names)
    problems: list[str] = []
    bar = byte_progress(f"weights {folder.name}", total) if shown else nullcontext(_silent)
    with bar as advance, ThreadPoolExecutor(THREADS) as pool:

        def read(key: str) -> dict[str, Tensor]:
            kind = eight_bit if is_linear(contents.tensors[key]) else None
            try:
                return _read(contents, key, kind or expected[key].dtype, device, advance)
            except TensorFileError as error:
                problems.append(f"{contents.tensors[key].path.name} {error}")
                return {}

        results = list(pool.map(read, names))
    if problems:
        raise ConfigError(f"the checkpoint in {folder} cannot be loaded: {'; '.join(sorted(problems))}")
    return {key: tensor for result in results for key, tensor in result.items()}


def _silent(num_bytes: int) -> None:
    """No bar."""


def _read(
    contents: Contents, key: str, wanted: Format | torch.dtype, device: torch.device, advance: Advance
) -> dict[str, Tensor]:
    if isinstance(wanted, Format):
        return _read_eight_bit(contents, key, wanted, device, advance)
    return {key: _read_tensor(contents, key, wanted, device, advance)}


def _read_tensor(contents: Contents, key: str, dtype: torch.dtype, device: torch.device, advance: Advance) -> Tensor:
    stored, scale = contents.tensors[key], None
    target = torch.empty(stored.rows, stored.row_elements, dtype=dtype, device=device)
    if stored.is_eight_bit and (scale_entry := contents.scale_of(key)):
        scale = read_whole(scale_entry).float().reshape(-1, 1).expand(stored.rows, 1).to(device)
    for rows, piece in read_rows(stored, pinned=device.type == "cuda"):
        values = piece.to(device)
        part = target[rows]
        part.copy_(values if scale is None else values.float() * scale[rows])
        _check_finite(part, key)
        advance(piece.numel() * piece.element_size())
    return target.reshape(stored.shape)


def _read_eight_bit(
    contents: Contents, key: str, kind: Format, device: torch.device, advance: Advance
) -> dict[str, Tensor]:
    """A linear in 8 bits, and its scale: as they are stored, or coded now."""
    stored = contents.tensors[key]
    target = torch.empty(stored.shape, dtype=stored.dtype if stored.is_eight_bit else DTYPES[kind], device=device)
    suffix = INT8_SCALE if target.dtype is torch.int8 else FP8_SCALE
    kept = contents.scale_of(key) if stored.is_eight_bit else None
    scales = read_whole(kept).float().flatten().to(device) if kept else torch.empty(stored.rows, device=device)
    for rows, piece in read_rows(stored, pinned=device.type == "cuda"):
        values = piece.to(device)
        if kept is None:
            scales[rows] = row_scales(values, kind)[:, 0]
            _check_finite(scales[rows], key)
            values = coded(values, scales[rows, None], kind)
        elif stored.dtype is not torch.int8:
            _check_finite(values.float(), key)
        target[rows] = values
        advance(piece.numel() * piece.element_size())
    _check_finite(scales, key)
    return {key: target, key + suffix: scales}


def _check_finite(values: Tensor, key: str) -> None:
    # any NaN or infinity survives a sum, which needs no memory of its own
    if not bool(torch.isfinite(values.sum(dtype=torch.float32))):
        raise TensorFileError(f"is corrupt: {key} holds values that are not finite")


def read_whole(stored: StoredTensor) -> Tensor:
    """A small tensor as it is stored, on the host."""
    pieces: Iterable[Tensor] = [piece.clone() for _, piece in read_rows(stored)]
    return torch.cat([*pieces]).reshape(stored.shape)
