"""Reads the Turbo decoder from disk: the official folder, or a configuration and a weights file (specification 4.3)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.codecs.turbo_config import TurboConfig
from engine.codecs.turbo_network import TurboDecoder
from hhray.errors import ConfigError

CONFIG_PATTERNS = ("TurboV3-*.json", "config.json")
WEIGHT_PATTERNS = ("checkpoint-*.ckpt", "*.safetensors")
EMA_KEY = "ema_state_dict"
MODULE_PREFIX = "module."
DECODER_PREFIX = "decoder."


def load_turbo(
    path: Path,
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TurboDecoder:
    """The decoder with its weights, frozen.

    Args:
        path: the official folder (`TurboV3-*.json` and `checkpoint-*.ckpt`, or one `*.safetensors`); or, where
            `weights` is given, the configuration file.
        weights: a `.ckpt` or `.safetensors` file.
        device, dtype: of the weights, and so of the computation.

    Raises:
        ConfigError: a file is absent, damaged, or lacks tensors; the message lists all that is wrong.
    """
    config_file, weights_file = (path, weights) if weights else (_found(path, CONFIG_PATTERNS), None)
    weights_file = weights_file or _found(path, WEIGHT_PATTERNS)
    with torch.device("meta"):
        decoder = TurboDecoder(TurboConfig.from_json(config_file))
    state = _decoder_state(_read(weights_file))
    _check(decoder, state, weights_file)
    placed = {name: tensor.to(device, dtype) for name, tensor in state.items()}
    decoder.load_state_dict(placed, assign=True)
    return decoder.eval().requires_grad_(False)


def _found(folder: Path, patterns: tuple[str, ...]) -> Path:
    for pattern in patterns:
        matches = sorted(folder.glob(pattern))
        if len(matches) > 1:
            raise ConfigError(f"{folder} holds {len(matches)} files {pattern}; keep the one to be used")
        if matches:
            return matches[0]
    raise ConfigError(f"no Turbo decoder at {folder}: expected a folder with a file {' or '.join(patterns)}")


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ConfigError(f"no Turbo weights at {path}: expected a .ckpt or .safetensors file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # weights_only: a pickle that wants to run code is refused, not run
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ConfigError(f"the Turbo weights {path} cannot be read; fetch them again: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get(EMA_KEY), dict):
        raise ConfigError(f"the Turbo weights {path} have no table {EMA_KEY!r}, so they are not the published file")
    table: Mapping[str, Any] = content[EMA_KEY]
    return table


def _decoder_state(table: Mapping[str, Any]) -> dict[str, Tensor]:
    """The decoder's tensors by bare name; the file may hold the encoder's too."""
    bare = {name.removeprefix(MODULE_PREFIX): value for name, value in table.items()}
    return {name: value for name, value in bare.items() if name.startswith(DECODER_PREFIX)}


def _check(decoder: TurboDecoder, state: Mapping[str, Tensor], path: Path) -> None:
    """One error that lists every missing, unexpected and misshapen tensor."""
    expected = decoder.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is unexpected" for name in state if name not in expected]
    problems += [
        f"{name} is {list(state[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        raise ConfigError(f"{path} does not fit its Turbo configuration: {'; '.join(problems)}")
