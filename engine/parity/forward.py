"""Forward cases: positions, rotary tables, tokens and velocities of one pass."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.denoiser import Batch, ClipInput, Denoiser, slice_inputs
from engine.model.coordinates import item_coordinates
from engine.parity.golden_set import ForwardCase, GoldenFile, GoldenSet
from engine.parity.report import FORWARD_TOLERANCE, Row, compare, failure, relative_error
from engine.samplers.distilled import DistilledSampler
from hhray.errors import ConfigError
from hhray.model_size import AUDIO_CHANNELS, PATCH_CHANNELS, VIDEO_CHANNELS

BF16_ALLOWANCE = 1.15  # our bfloat16 error to the published implementation's own
# Two honest bfloat16 passes of one network, each with an error of e, lie at most 2 e apart.
BF16_APART = 2.0
BF16_PLAUSIBLE = 0.05
INPUTS = ("video_latent", "audio_latent", "text_features")
VELOCITIES = ("video_velocity", "audio_velocity")


def forward_rows(golden: GoldenSet, name: str) -> list[Row]:
    """A forward case in float32: every recorded tensor.

    Raises:
        ConfigError: a file or tensor is missing or misshapen.
    """
    case, file = golden.forward_case(name), golden.file(name)
    denoiser, batch = _started(golden, case, file, torch.float32)
    cosines, sines = batch.branches[0].rotary
    runs = batch.branches[0].runs
    ours = {
        "coords": item_coordinates(case.shape, case.style),
        "rope": torch.cat([sines, cosines], 1),
        "modality": torch.cat([torch.full((run.length,), int(run.modality)) for run in runs]),
        "token_sequence": _token_sequence(batch, golden.size.text_channels),
    }
    rows = [compare(name, key, value, file.plain(key), FORWARD_TOLERANCE) for key, value in ours.items()]
    for key, value in zip(VELOCITIES, denoiser.velocities(batch)[0], strict=True):
        rows.append(compare(name, key, value, file.item(key), FORWARD_TOLERANCE))
    return rows


def bfloat16_rows(golden: GoldenSet, name: str) -> list[Row]:
    """A forward case in mixed precision: our error against float32, next to the published implementation's own.

    Raises:
        ConfigError: a file or tensor is missing or misshapen, or the two recordings have different inputs.
    """
    case, exact, recorded = golden.forward_case(name), golden.file(name), golden.file(f"bf16/{name}")
    for key in INPUTS:
        if not torch.equal(exact.plain(key), recorded.plain(key)):
            raise ConfigError(f"{key} differs between {name} and bf16/{name}; record both from the same inputs")
    denoiser, batch = _started(golden, case, exact, torch.bfloat16)
    return [
        _bfloat16_row(name, key, value, exact.item(key), recorded.item(key))
        for key, value in zip(VELOCITIES, denoiser.velocities(batch)[0], strict=True)
    ]


def _bfloat16_row(case: str, output: str, value: Tensor, exact: Tensor, recorded: Tensor) -> Row:
    if recorded.shape != exact.shape or not recorded.isfinite().all():
        return failure(case, output, "the bfloat16 recording has another shape, or numbers that are not finite")
    own_error = relative_error(recorded, exact)
    row = compare(case, output, value, exact, BF16_ALLOWANCE * own_error)
    if row.rel_error is None:
        return row
    apart = relative_error(value, recorded)
    if own_error > BF16_PLAUSIBLE or apart > BF16_APART * row.rel_error:
        reason = (
            f"the bfloat16 recording is no rounding of the float32 one: error {own_error:.2g}, {apart:.2g} from ours"
        )
        return Row(case, output, row.rel_error, row.max_abs, row.tolerance, False, reason)
    return row


def _started(golden: GoldenSet, case: ForwardCase, file: GoldenFile, dtype: torch.dtype) -> tuple[Denoiser, Batch]:
    """The network and a batch whose latents are the recorded inputs."""
    shape, grid = case.shape, case.shape.grid
    model = golden.model("weights", dtype, case.up_gate_gain)
    clip = ClipInput(
        grid,
        shape.audio_latents,
        file.item("text_features", (shape.text_tokens, golden.size.text_channels)),
        _no_noise,
        audio=file.item("audio_latent", (shape.audio_latents, AUDIO_CHANNELS)),
        video=file.item("video_latent", (VIDEO_CHANNELS, grid.frames, grid.height, grid.width)),
    )
    denoiser = Denoiser(model, DistilledSampler(), style=case.style, local=case.local)
    return denoiser, denoiser.start([clip])


def _no_noise(shape: tuple[int, ...]) -> Tensor:
    raise ConfigError(f"a forward case draws no noise, but {shape} was asked for")


def _token_sequence(batch: Batch, text_channels: int) -> Tensor:
    """All tokens' input channels, zeros on the right of the narrower modalities."""
    widest = max(PATCH_CHANNELS, AUDIO_CHANNELS, text_channels)
    parts = slice_inputs(batch, batch.branches[0])
    return torch.cat([F.pad(part, (0, widest - part.shape[1])) for part in parts])
