"""A golden directory: its index, its files by kind, and networks of its size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.local_attention import LocalRule
from engine.model.coordinates import CoordinateStyle
from engine.model.dit import AudioVideoTransformer
from engine.model.stream import ItemShape
from hhray.errors import ConfigError
from hhray.geometry import LatentGrid
from hhray.model_size import AUDIO_CHANNELS, PATCH_CHANNELS, ModelSize

# Values of the index that this network cannot be built without.
FIXED_VALUES = {
    "video_in_channels": PATCH_CHANNELS,
    "audio_in_channels": AUDIO_CHANNELS,
    "enable_attn_gating": True,
    "post_norm_layers": [],
}


@dataclass(frozen=True, slots=True)
class ForwardCase:
    """One entry of the index: a forward pass's sizes, positions, local layers, and factor on `up_gate_proj`."""

    shape: ItemShape
    style: CoordinateStyle
    local: LocalRule
    up_gate_gain: float


@dataclass(frozen=True, slots=True)
class GoldenFile:
    """The tensors of one file, each recorded with a batch dimension of 1."""

    name: str
    tensors: dict[str, Tensor]

    def plain(self, key: str) -> Tensor:
        """A tensor as it lies in the file.

        Raises:
            ConfigError: there is none.
        """
        if key not in self.tensors:
            raise ConfigError(f"{self.name}.safetensors has no tensor {key!r}; record the case anew")
        return self.tensors[key]

    def item(self, key: str, shape: Sequence[int] | None = None) -> Tensor:
        """A tensor without its batch dimension, of that shape if one is given.

        Raises:
            ConfigError: it is missing, holds more than one item, or is of another shape.
        """
        tensor = self.plain(key)
        expected = [1, *(shape if shape is not None else tensor.shape[1:])]
        if list(tensor.shape) != expected:
            raise ConfigError(f"{self.name}.safetensors: {key} is {list(tensor.shape)}, expected {expected}")
        return tensor[0]

    def optional(self, key: str, shape: Sequence[int] | None = None) -> Tensor | None:
        """As `item`, or None where there is none."""
        return self.item(key, shape) if key in self.tensors else None


class GoldenSet:
    """Reads from `folder`.

    Raises:
        ConfigError: the directory has no readable index, or one of a network that cannot be built.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = self.json("index")
        self.size = _size(self.index)

    def json(self, name: str) -> dict[str, Any]:
        """The object in NAME.json.

        Raises:
            ConfigError: it is missing or no JSON object.
        """
        path = self.folder / f"{name}.json"
        try:
            values = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}; give a golden directory") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{path} holds no JSON object; give a golden directory")
        return values

    def file(self, name: str) -> GoldenFile:
        """The tensors of NAME.safetensors.

        Raises:
            ConfigError: it is missing or damaged.
        """
        path = self.folder / f"{name}.safetensors"
        try:
            return GoldenFile(name, load_file(path))
        except (OSError, ValueError, SafetensorError) as error:
            raise ConfigError(f"{path} cannot be read: {error}; record the golden set anew") from error

    @property
    def forward_names(self) -> tuple[str, ...]:
        """Names of the forward cases, in the order of the index."""
        return tuple(self.index["cases"])

    def forward_case(self, name: str) -> ForwardCase:
        """A forward case.

        Raises:
            ConfigError: the index does not describe it as it should.
        """
        try:
            entry = self.index["cases"][name]
            shape = ItemShape(LatentGrid(*entry["latent_thw"]), entry["audio_len"], entry["text_len"])
            local = LocalRule(entry["frame_receptive_field"], frozenset(entry["local_attn_layers"]))
            return ForwardCase(shape, CoordinateStyle(entry["coords_style"]), local, float(entry["up_gate_gain"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"index.json does not describe case {name!r}: {error!r}") from error

    def model(self, weights: str, dtype: torch.dtype, up_gate_gain: float = 1.0) -> AudioVideoTransformer:
        """The network with the weights of WEIGHTS.safetensors, its linears in `dtype`, frozen.

        Raises:
            ConfigError: the weights are missing, or not those of this size.
        """
        tensors = self.file(weights).tensors
        scaled = {key: value * up_gate_gain if "up_gate_proj" in key else value for key, value in tensors.items()}
        model = AudioVideoTransformer(self.size, dtype).requires_grad_(False)
        try:
            model.load_state_dict(scaled)
        except RuntimeError as error:
            raise ConfigError(f"{weights}.safetensors does not fit the sizes in index.json: {error}") from error
        return model


def _size(index: dict[str, Any]) -> ModelSize:
    try:
        config = index["config"]
        for key, value in FIXED_VALUES.items():
            if config.get(key, value) != value:
                raise ConfigError(f"index.json: {key} is {config[key]!r}, this network is built with {value!r} only")
        if not isinstance(index["cases"], dict):
            raise ConfigError("index.json: `cases` is no object of forward cases by name")
        return ModelSize(
            "golden",
            config["num_layers"],
            0,
            config["hidden_size"],
            config["num_heads_q"],
            config["num_heads_kv"],
            config["head_dim"],
            config["text_in_channels"],
            frozenset(config["mm_layers"]),
            frozenset(config["gelu7_layers"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"index.json does not describe the network: {error!r}") from error
