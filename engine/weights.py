"""Where a model's weights come from: a checkpoint, or fixed-seed random numbers for the small presets.

Without a checkpoint every rank draws the same weights from the same seed. Scales are chosen so that each layer adds a
small, equal share to the residual and that velocities have unit variance: pictures are abstract, but nothing vanishes
or explodes.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoint.load import load_tensors
from engine.checkpoint.names import SCALES
from engine.eight_bit import coded, row_scales
from engine.model.dit import AudioVideoTransformer, RotaryBands
from engine.model.layers import EightBitExpertLinear, ExpertLinear
from engine.model.scaled_linear import ScaledExpertLinear
from engine.release import RANDOM_PRESETS
from hhray.errors import ConfigError
from hhray.memory_plan import is_small
from hhray.memory_size import Format
from hhray.model_size import ModelSize

SEED = 20260411
NORM_SPREAD = 0.1
HEAD_NORM = 0.4  # query and key norms of 1.4: attention picks some dozens of tokens instead of averaging all
BANDS = "adapter.rope.bands"
FLOAT_DTYPES = {Format.FP32: torch.float32, Format.BF16: torch.bfloat16}
EIGHT_BIT = (Format.FP8, Format.INT8)
PRECISIONS = (Format.BF16, *EIGHT_BIT)


def wanted_format(precision: str) -> Format | None:
    """Of a setting: bf16, fp8 or int8; None for auto.

    Raises:
        ConfigError: it is another word.
    """
    if precision != "auto" and precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} is not known; choose one of: auto, {', '.join(PRECISIONS)}")
    return None if precision == "auto" else Format(precision)


def compute_dtype(size: ModelSize, weights: Format | None = None) -> torch.dtype:
    """That of the weights, if a float format is named; else float32 for networks a CPU runs, bfloat16 for others."""
    if weights in FLOAT_DTYPES:
        return FLOAT_DTYPES[weights]
    return torch.float32 if is_small(size) else torch.bfloat16


def build_model(size: ModelSize, device: torch.device, weights: Format | None = None) -> AudioVideoTransformer:
    """The network with weights, on `device`, frozen; it computes in the format `weights` if that is a float's.

    Raises:
        ConfigError: the preset has no weights without a checkpoint.
    """
    if size.name not in RANDOM_PRESETS:
        raise ConfigError(
            f"model preset {size.name!r} needs a checkpoint; `hhray fetch-weights` gets one, and without one "
            f"there are: {', '.join(RANDOM_PRESETS)}"
        )
    model = AudioVideoTransformer(size, compute_dtype(size, weights))
    fill_random(model, SEED)
    return model.to(device).eval().requires_grad_(False)


def load_model(
    size: ModelSize,
    folder: Path,
    device: torch.device,
    weights: Format | None = None,
    shown: bool = True,
    scaled: bool = False,
) -> AudioVideoTransformer:
    """The network with the weights of the safetensors files in `folder`, streamed to `device`, frozen.

    Block linears are in the format `weights`, everything else in float32, whatever the files hold; without a format
    they are in the compute dtype of the size. In 8 bits, linears that are stored so are kept as they are, others are
    quantised row by row. The rotary bands are a formula: they are computed, since some releases store them rounded to
    bfloat16. `shown`: whether a bar shows how far it is. `scaled`: whether float8 weights are multiplied as they are,
    which not every device can (engine.scaled_product); else they are expanded one after another.

    Raises:
        ConfigError: the files are not this network's; all that is wrong is listed.
    """
    model = build_meta_model(size, weights)
    eight_bit = weights if weights in EIGHT_BIT else None
    tensors = load_tensors(folder, model.state_dict(), device, size.name, eight_bit=eight_bit, shown=shown)
    tensors[BANDS] = RotaryBands(size.head_dim).bands.to(device)
    if eight_bit:
        _keep_eight_bit(model, tensors, scaled)
    model.load_state_dict(tensors, assign=True, strict=not eight_bit)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def quantise_linears(model: AudioVideoTransformer, kind: Format, scaled: bool = False) -> None:
    """Put the block linears of a network with float weights into 8 bits, row by row, as `load_model` would."""
    for path, linear in _linears(model):
        scales = row_scales(linear.weight, kind)
        _replace(model, path, linear, coded(linear.weight, scales, kind), scales, scaled)


def _keep_eight_bit(model: AudioVideoTransformer, tensors: dict[str, Tensor], scaled: bool) -> None:
    """Replace the linears whose tensors are in 8 bits, and take those tensors out."""
    for path, linear in _linears(model):
        name = f"{path}.weight"
        scales = next(tensors.pop(name + suffix) for suffix in SCALES if name + suffix in tensors)
        _replace(model, path, linear, tensors.pop(name), scales, scaled)


def _linears(model: AudioVideoTransformer) -> list[tuple[str, ExpertLinear]]:
    return [(path, module) for path, module in model.named_modules() if isinstance(module, ExpertLinear)]


def _replace(
    model: AudioVideoTransformer, path: str, linear: ExpertLinear, values: Tensor, scales: Tensor, scaled: bool
) -> None:
    """Put weights in 8 bits in the place of a linear; int8 weights are always expanded."""
    parent, _, last = path.rpartition(".")
    kind = ScaledExpertLinear if scaled and values.dtype is torch.float8_e4m3fn else EightBitExpertLinear
    setattr(model.get_submodule(parent), last, kind(values, scales, linear.experts, linear.weight.dtype))


def arithmetic(model: nn.Module, why_not_scaled: str) -> str:
    """What the linears of a transformer compute in, for people; where float8 weights are expanded, with the reason."""
    linear = next(part for part in model.modules() if isinstance(part, ExpertLinear))
    if isinstance(linear, ScaledExpertLinear):
        return "float8 products, scaled by rows"
    if not isinstance(linear, EightBitExpertLinear):
        return f"{linear.weight.dtype} weights".removeprefix("torch.")
    kept = "int8" if linear.values.dtype is torch.int8 else "float8"
    return f"{kept} weights, expanded" + (f": {why_not_scaled}" if kept == "float8" and why_not_scaled else "")


def build_meta_model(size: ModelSize, weights: Format | None = None) -> AudioVideoTransformer:
    """The network without memory for its weights: names, shapes and dtypes only."""
    with torch.device("meta"):
        return AudioVideoTransformer(size, compute_dtype(size, weights)).eval().requires_grad_(False)


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
