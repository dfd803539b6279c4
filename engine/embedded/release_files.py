"""Writes a trained network of the made world and its codecs as a release: the folder that comes with the package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.capabilities import CODECS, FILE_NAME, SPRITE
from engine.checkpoint.names import TEXT_FILE, VIDEO_FILE, Part
from engine.checkpoint.shapes import expected_tensors
from hhray.capabilities import Capabilities
from hhray.errors import ConfigError
from hhray.model_size import EMBEDDED_SHARE, ModelSize

WEIGHTS_FILE = "model.safetensors"
MAX_BYTES = 24_000_000


def write_release(
    folder: Path,
    state: Mapping[str, Tensor],
    size: ModelSize,
    text_file: Path,
    video_file: Path,
    capabilities: Capabilities,
    card: str,
) -> Path:
    """The release in `folder`, which is made where it is not there and returned; files of these names are replaced.

    Args:
        state: of the transformer, in any float dtype; it is written in bfloat16.
        size: of the transformer.
        text_file, video_file: safetensors of the text encoder and the video codec; they may lie in `folder` already.
        capabilities: what the network was trained for.
        card: the model card, in Markdown.

    Raises:
        ConfigError: the state is not that of such a network, or it all takes more than 24 MB; nothing is written then.
    """
    _check_state(state, size)
    tensors = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in state.items()}
    weight_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    parts = [weight_bytes, text_file.stat().st_size, video_file.stat().st_size, len(card.encode())]
    if sum(parts) > MAX_BYTES:
        raise ConfigError(
            f"transformer, text encoder, video codec and card take {' + '.join(f'{part:,}' for part in parts)} bytes, "
            f"and the package has room for {MAX_BYTES:,}; train a smaller network"
        )
    (folder / Part.DISTILL).mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / Part.DISTILL / WEIGHTS_FILE)
    index = {"metadata": {"total_size": weight_bytes}, "weight_map": dict.fromkeys(sorted(tensors), WEIGHTS_FILE)}
    _write_json(folder / Part.DISTILL / f"{WEIGHTS_FILE}.index.json", index)
    for source, name in ((text_file, TEXT_FILE), (video_file, VIDEO_FILE)):
        if source.resolve() != (folder / name).resolve():
            shutil.copyfile(source, folder / name)
    for path in (folder / Part.DISTILL / WEIGHTS_FILE, folder / TEXT_FILE, folder / VIDEO_FILE):
        path.chmod(
            0o644
        )  # the library writes files that only their owner can read, and who installs may not be who runs
    said = {
        "capabilities": asdict(capabilities),
        "codecs": dict.fromkeys(CODECS, SPRITE),
        "native_share": list(EMBEDDED_SHARE.as_integer_ratio()),
        "predicts": "clean",
    }
    _write_json(folder / FILE_NAME, said)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


def _check_state(state: Mapping[str, Tensor], size: ModelSize) -> None:
    expected, found = expected_tensors(size), {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        name = wrong[0]
        raise ConfigError(
            f"this is not the state of a {size.name} network: {len(wrong)} tensors differ, the first is {name}: "
            f"{found.get(name, 'absent')}, expected {expected.get(name, 'none')}"
        )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
