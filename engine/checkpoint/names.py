"""Names of parts, files and keys in the published layouts (model specification 4.5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hhray.errors import ConfigError

FP8_SCALE = ".__fp8_scale"
INT8_SCALE = ".__int8_scale"
SCALES = (FP8_SCALE, INT8_SCALE)
# small codecs that lie beside the transformers' folders (engine.embedded)
TEXT_FILE, VIDEO_FILE = "text.safetensors", "video.safetensors"


class Part(StrEnum):
    """The transformers of a release; a value is the official folder's name."""

    BASE = "base"
    DISTILL = "distill"
    SR_540P = "540p_sr"
    SR_1080P = "1080p_sr"


class Layout(StrEnum):
    """How a release is laid out on disk."""

    OFFICIAL = "official"  # base/ distill/ 540p_sr/ 1080p_sr/
    DIFFUSERS = "diffusers"  # base/ distill/ sr_540p/ sr_1080p/, weights in transformer/ or sr_transformer/ below
    FP8 = "fp8"  # base_fp8/ .. : float8 weights with a scale each
    INT8 = "int8"  # base_int8/ .. : int8 weights with a scale a row, written by `hhray quantize`
    SINGLE = "single"  # the directory itself holds one transformer


FOLDERS: dict[Layout, dict[Part, str]] = {
    Layout.DIFFUSERS: {Part.SR_540P: "sr_540p", Part.SR_1080P: "sr_1080p"},
    Layout.FP8: {part: f"{part}_fp8" for part in Part},
    Layout.INT8: {part: f"{part}_int8" for part in Part},
    # last: base/ and distill/ are the same folders in the diffusers-style layout
    Layout.OFFICIAL: {part: str(part) for part in Part},
}


@dataclass(frozen=True, slots=True)
class Release:
    """A directory of weights: its layout, and the folder that holds the files of each transformer."""

    root: Path
    layout: Layout
    folders: dict[str, Path]

    def folder(self, part: Part) -> Path:
        """The folder of one transformer; a directory with a single one is whatever part is asked for.

        Raises:
            ConfigError: this release has no such part.
        """
        if self.layout is Layout.SINGLE:
            return self.root
        if part not in self.folders:
            there = ", ".join(self.folders)
            raise ConfigError(f"{self.root} has no {part} weights; it has {there}. `hhray fetch-weights` gets them.")
        return self.folders[part]


def find_release(root: Path) -> Release:
    """What lies in `root`.

    Raises:
        ConfigError: there is no such directory, or none of the known layouts in it.
    """
    if not root.is_dir():
        raise ConfigError(f"no directory {root}; expected a folder of weights in safetensors files")
    if _has_weights(root):
        return Release(root, Layout.SINGLE, {Layout.SINGLE: root})
    for layout, names in FOLDERS.items():
        folders = {part: _weights_below(root / name, part) for part, name in names.items() if (root / name).is_dir()}
        if not folders:
            continue
        if layout is Layout.DIFFUSERS:
            shared = (Part.BASE, Part.DISTILL)
            folders |= {part: _weights_below(root / part, part) for part in shared if (root / part).is_dir()}
        elif layout is Layout.OFFICIAL and any((root / part / "transformer").is_dir() for part in folders):
            layout = Layout.DIFFUSERS  # noqa: PLW2901 the same folders, one level deeper
        return Release(root, layout, {str(part): folders[part] for part in Part if part in folders})
    compressed = any(root.rglob("*.safetensors.zst"))
    known = "; ".join(f"{layout}: {' '.join(names.values())}" for layout, names in FOLDERS.items())
    hint = "the files end in .zst: decompress them first (zstd -d)" if compressed else f"known layouts: {known}"
    raise ConfigError(f"{root} holds no safetensors files and none of the known folders; {hint}")


def _has_weights(folder: Path) -> bool:
    files = {path.name for path in folder.glob("*.safetensors")} - {TEXT_FILE, VIDEO_FILE}
    return bool(files) or any(folder.glob("*.safetensors.index.json"))


def _weights_below(folder: Path, part: Part) -> Path:
    """The folder itself, or the one below it that the diffusers-style layout keeps this part in."""
    below = "sr_transformer" if part in (Part.SR_540P, Part.SR_1080P) else "transformer"
    return folder / below if not _has_weights(folder) and (folder / below).is_dir() else folder
