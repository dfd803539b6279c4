"""Leaves a network the video experts of its edge layers only, for a rank that never holds audio or text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.model.dit import AudioVideoTransformer
from engine.model.layers import EightBitExpertLinear, ExpertLinear, ExpertNorm
from engine.model.stream import Modality, Run
from hhray.errors import EngineFault
from hhray.model_size import NUM_MODALITIES


@torch.no_grad()
def keep_video_experts(model: AudioVideoTransformer) -> None:
    """Free the audio and text experts of the edge layers; from then on the network refuses other tokens than video.

    The trunk, embedders and heads stay as they are.
    """
    for module in list(model.block.modules()):
        if isinstance(module, (ExpertLinear, ExpertNorm)) and module.experts == NUM_MODALITIES:
            _keep_first(module)
            module.experts = 1
    model.register_forward_pre_hook(_check_runs)


def _check_runs(module: nn.Module, inputs: tuple[Any, ...]) -> None:  # noqa: ARG001 - the form of a hook
    """Whether the runs, the second argument of a forward pass, are all video; a missing expert would go unnoticed.

    Raises:
        EngineFault: they are not.
    """
    runs: Sequence[Run] = inputs[1]
    if any(run.modality is not Modality.VIDEO for run in runs):
        raise EngineFault(
            "this rank holds audio or text, and kept its video experts only; clips must be of the shapes offered, one "
            "at a time and on all ranks, or the setting engine.video_only_ranks off"
        )


def _keep_first(module: ExpertLinear | ExpertNorm) -> None:
    if not isinstance(module, EightBitExpertLinear):
        module.weight = nn.Parameter(_first(module.weight), requires_grad=False)
        return
    rows = len(module.weight) // NUM_MODALITIES
    module.weight = torch.empty(rows, module.weight.shape[1], dtype=module.weight.dtype, device="meta")  # type: ignore[assignment]
    module.values = nn.Parameter(_first(module.values), requires_grad=False)
    if len(module.scales) > 1:
        module.scales = _first(module.scales)


def _first(tensor: Tensor) -> Tensor:
    """The first expert's share, in memory of its own."""
    return tensor.chunk(NUM_MODALITIES)[0].clone()
