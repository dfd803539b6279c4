"""Stream a checkpoint to its device: each tensor is allocated there once, in its final dtype, and filled row by row.

Host memory beyond the result is one read buffer a thread. Files are read by several threads at once, tensor by tensor,
so that shards are read in parallel and a single large file is, too. Quantised weights are multiplied with their scales
on the way and computed with in the linears' dtype: int8 and float8 save disk and transfer, not device memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from engine.byte_progress import Advance, byte_progress
from engine.checkpoint.contents import Contents, read_contents, require
from engine.checkpoint.header import StoredTensor, TensorFileError
from engine.checkpoint.tensor_file import read_rows
from hhray.errors import ConfigError

THREADS = 4


def load_tensors(
    folder: Path, expected: dict[str, Tensor], device: torch.device, name: str, wanted: Collection[str] | None = None
) -> dict[str, Tensor]:
    """The tensors of a checkpoint on `device`.

    Args:
        folder: where the safetensors files are.
        expected: meta tensors of the whole network by name; their shapes must be the files', their dtypes are made.
        device: where the tensors go.
        name: the network's name, for messages.
        wanted: names to read; None: all of them. The whole checkpoint is checked in any case.

    Raises:
        ConfigError: tensors are missing, unexpected, misshapen, truncated or not finite; all are listed.
    """
    contents = read_contents(folder)
    require(contents, {key: tuple(tensor.shape) for key, tensor in expected.items()}, name)
    names = [key for key in contents.weights if wanted is None or key in wanted]
    total = sum(contents.tensors[key].num_bytes for key in names)
    problems: list[str] = []
    with byte_progress(f"weights {folder.name}", total) as advance, ThreadPoolExecutor(THREADS) as pool:

        def read(key: str) -> Tensor | None:
            try:
                return _read_tensor(contents, key, expected[key].dtype, device, advance)
            except TensorFileError as error:
                problems.append(f"{contents.tensors[key].path.name} {error}")
                return None

        results = dict(zip(names, pool.map(read, names), strict=True))
    if problems:
        raise ConfigError(f"the checkpoint in {folder} cannot be loaded: {'; '.join(sorted(problems))}")
    return {key: tensor for key, tensor in results.items() if tensor is not None}


def _read_tensor(contents: Contents, key: str, dtype: torch.dtype, device: torch.device, advance: Advance) -> Tensor:
    stored, scale = contents.tensors[key], None
    target = torch.empty(stored.rows, stored.row_elements, dtype=dtype, device=device)
    if stored.dtype in (torch.float8_e4m3fn, torch.int8) and (scale_entry := contents.scale_of(key)):
        scale = read_whole(scale_entry).float().reshape(-1, 1).expand(stored.rows, 1).to(device)
    for rows, piece in read_rows(stored, pinned=device.type == "cuda"):
        values = piece.to(device)
        part = target[rows]
        part.copy_(values if scale is None else values.float() * scale[rows])
        # any NaN or infinity survives a sum, which needs no memory of its own
        if not bool(torch.isfinite(part.sum(dtype=torch.float32))):
            raise TensorFileError(f"is corrupt: {key} holds values that are not finite")
        advance(piece.numel() * piece.element_size())
    return target.reshape(stored.shape)


def read_whole(stored: StoredTensor) -> Tensor:
    """A small tensor as it is stored, on the host."""
    pieces: Iterable[Tensor] = [piece.clone() for _, piece in read_rows(stored)]
    return torch.cat([*pieces]).reshape(stored.shape)
