"""Where a model's weights come from: a checkpoint, or fixed-seed random numbers for the small presets.

Without a checkpoint every rank draws the same weights from the same seed. Scales are chosen so that each layer adds a
small, equal share to the residual and that velocities have unit variance: pictures are abstract, but nothing vanishes
or explodes.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from engine.checkpoint.load import load_tensors
from engine.model.dit import AudioVideoTransformer, RotaryBands
from hhray.errors import ConfigError
from hhray.model_size import ModelSize

SEED = 20260411
NORM_SPREAD = 0.1
HEAD_NORM = 0.4  # query and key norms of 1.4: attention picks some dozens of tokens instead of averaging all
RANDOM_PRESETS = ("tiny", "pico")
BANDS = "adapter.rope.bands"


def compute_dtype(size: ModelSize) -> torch.dtype:
    """float32 for the presets a CPU runs, bfloat16 for the full network."""
    return torch.float32 if size.name in RANDOM_PRESETS else torch.bfloat16


def build_model(size: ModelSize, device: torch.device) -> AudioVideoTransformer:
    """The network with weights, on `device`, frozen.

    Raises:
        ConfigError: the preset has no weights without a checkpoint.
    """
    if size.name not in RANDOM_PRESETS:
        raise ConfigError(
            f"model preset {size.name!r} needs a checkpoint; `hhray fetch-weights` gets one, and without one "
            f"there are: {', '.join(RANDOM_PRESETS)}"
        )
    model = AudioVideoTransformer(size, compute_dtype(size))
    fill_random(model, SEED)
    return model.to(device).eval().requires_grad_(False)


def load_model(size: ModelSize, folder: Path, device: torch.device) -> AudioVideoTransformer:
    """The network with the weights of the safetensors files in `folder`, streamed to `device`, frozen.

    Linears are in the preset's compute dtype, everything else in float32, whatever the files hold. The rotary bands
    are a formula: they are computed, since some releases store them rounded to bfloat16.

    Raises:
        ConfigError: the files are not this network's; all that is wrong is listed.
    """
    model = build_meta_model(size)
    tensors = load_tensors(folder, model.state_dict(), device, size.name)
    tensors[BANDS] = RotaryBands(size.head_dim).bands.to(device)
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)


def build_meta_model(size: ModelSize) -> AudioVideoTransformer:
    """The network without memory for its weights: names, shapes and dtypes only."""
    with torch.device("meta"):
        return AudioVideoTransformer(size, compute_dtype(size)).eval().requires_grad_(False)


def fill_random(model: AudioVideoTransformer, seed: int) -> None:
    """Overwrite all weights, which must lie on the CPU, with numbers that depend on `seed` alone."""
    generator = torch.Generator().manual_seed(seed)
    branches = 2 * model.size.num_layers
    for name, weight in model.named_parameters():
        spread, mean = NORM_SPREAD, 0.0
        if weight.dim() == 2:
            spread = 1 / math.sqrt(weight.shape[1])
            if name.endswith(("linear_proj.weight", "down_proj.weight")):
                spread *= 4 / math.sqrt(branches)
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            mean = HEAD_NORM
        nn.init.normal_(weight, mean, spread, generator=generator)
