"""What a folder of safetensors files holds, and how it compares with what a network expects.

Problems are collected as sentences, never raised one by one: whoever copies 61 GB wants to hear of all of them at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from engine.checkpoint.header import DTYPES, StoredTensor, TensorFileError, read_header
from engine.checkpoint.names import FP8_SCALE, INT8_SCALE, SCALES
from engine.checkpoint.shapes import Expected, expected_tensors
from engine.checkpoint.spellings import published_names
from hhray.errors import ConfigError
from hhray.model_size import PRESETS, ModelSize

FLOAT_CODES = ("F32", "BF16", "F16")


@dataclass(slots=True)
class Contents:
    """The tensors of a folder by name, scales included; `problems` are those of its files and index."""

    folder: Path
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def scale_of(self, name: str) -> StoredTensor | None:
        """The scale a quantised weight is multiplied with, by row or as a whole; None where there is none."""
        suffix = INT8_SCALE if self.tensors[name].code == "I8" else FP8_SCALE
        return self.tensors.get(name + suffix)

    @property
    def weights(self) -> dict[str, StoredTensor]:
        """The tensors without the scales."""
        return {name: stored for name, stored in self.tensors.items() if not name.endswith(SCALES)}

    @property
    def num_bytes(self) -> int:
        return sum(stored.num_bytes for stored in self.tensors.values())


def read_contents(folder: Path) -> Contents:
    """Headers of all files that the index names, or without an index of all safetensors files of the folder.

    Names that other programs use are made the published ones (engine.checkpoint.spellings).
    """
    contents = Contents(folder)
    placed = _read_index(contents)
    names = sorted(set(placed.values())) or sorted(path.name for path in folder.glob("*.safetensors"))
    if not names and not contents.problems:
        contents.problems.append(f"there are no safetensors files in {folder}")
    for name in names:
        _add_file(contents, folder / name)
    read = {path.name for path in contents.files}
    for tensor, name in placed.items():
        if name in read and (tensor not in contents.tensors or contents.tensors[tensor].path.name != name):
            contents.problems.append(f"the index says {tensor} is in {name}, which does not hold it")
    contents.tensors = published_names(contents.tensors)
    return contents


def _read_index(contents: Contents) -> dict[str, str]:
    indices = sorted(contents.folder.glob("*.safetensors.index.json"))
    if not indices:
        return {}
    if len(indices) > 1:
        contents.problems.append(f"there is more than one index: {', '.join(path.name for path in indices)}")
    try:
        placed = json.loads(indices[0].read_text(encoding="utf-8"))["weight_map"]
        if not isinstance(placed, dict) or not placed or any(Path(name).name != name for name in placed.values()):
            raise ValueError("weight_map must map tensor names to bare file names")
    except (OSError, ValueError, KeyError, TypeError) as error:
        contents.problems.append(f"{indices[0].name} is corrupt: {error!r}")
        return {}
    return placed


def _add_file(contents: Contents, path: Path) -> None:
    try:
        tensors = read_header(path)
    except TensorFileError as error:
        contents.problems.append(f"{path.name} {error}")
        return
    contents.files.append(path)
    for name, stored in tensors.items():
        if name in contents.tensors:
            contents.problems.append(f"{name} is in {contents.tensors[name].path.name} and again in {path.name}")
        contents.tensors[name] = stored


def find_problems(contents: Contents, expected: Expected) -> list[str]:
    """All that keeps the contents from being the expected network; empty when they are."""
    weights, problems = contents.weights, list(contents.problems)
    _list(problems, "missing", [name for name in expected if name not in weights])
    unexpected = [name for name in weights if name not in expected]
    orphans = [name for name in contents.tensors if name.endswith(SCALES) and name.rpartition(".")[0] not in weights]
    _list(problems, "unexpected", unexpected + orphans)
    both = [(name, stored) for name, stored in weights.items() if name in expected]
    shapes = [
        f"{name} {list(stored.shape)}, expected {list(expected[name])}"
        for name, stored in both
        if stored.shape != expected[name]
    ]
    _list(problems, "misshapen", shapes)
    _list(problems, "without a fitting scale", [name for name, stored in both if not _scale_fits(contents, stored)])
    return problems


def _list(problems: list[str], what: str, names: list[str]) -> None:
    if names:
        problems.append(f"{len(names)} {what}: {', '.join(names)}")


def _scale_fits(contents: Contents, stored: StoredTensor) -> bool:
    if not stored.is_eight_bit:
        return True
    scale = contents.scale_of(stored.name)
    return scale is not None and scale.code in FLOAT_CODES and scale.num_elements in (1, stored.rows)


def nearest_known(contents: Contents) -> tuple[ModelSize, str]:
    """The preset most of whose names and shapes are there, and a sentence about how near it is."""
    weights = contents.weights
    best: tuple[int, int, ModelSize, int] | None = None
    for size in PRESETS.values():
        expected = expected_tensors(size)
        found = {name: weights[name] for name in expected if name in weights}
        shapes = sum(stored.shape == expected[name] for name, stored in found.items())
        if best is None or (shapes, len(found)) > best[:2]:
            best = (shapes, len(found), size, len(expected))
    if best is None:
        raise ConfigError("no model presets are known")
    shapes, names, size, total = best
    quantised = sorted({DTYPES[stored.code][0] for stored in weights.values() if stored.is_eight_bit})
    layout = f"{' '.join(quantised)} with scales" if quantised else "plain"
    return size, (
        f"nearest known layout: {layout}, preset {size.name}: "
        f"{names} of {total} names and {shapes} of {total} shapes agree"
    )


def require(contents: Contents, expected: Expected, name: str) -> None:
    """Nothing when the contents are the expected network `name`.

    Raises:
        ConfigError: they are not; the message lists every problem and the nearest known layout.
    """
    if problems := find_problems(contents, expected):
        raise ConfigError(
            f"the checkpoint in {contents.folder} is not the {name} network: {'; '.join(problems)}. "
            f"{nearest_known(contents)[1].capitalize()}."
        )
