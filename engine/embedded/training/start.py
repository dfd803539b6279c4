"""The transformer's weights before training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from engine.embedded.codecs.fields import NUM_USED
from engine.embedded.training.bearings import take_bearings
from engine.model.dit import AudioVideoTransformer
from hhray.geometry import PATCH
from hhray.model_size import AUDIO_CHANNELS, EMBEDDED, ModelSize, preset

SIZE = preset(EMBEDDED)
HEAD_NORM = 0.5
BRANCH = 0.3  # of what a layer adds at first


def new_model(seed: int, size: ModelSize = SIZE, dtype: torch.dtype = torch.bfloat16) -> AudioVideoTransformer:
    """A network that says nothing yet, but knows from its first layer on where each token is and what is asked for."""
    model = AudioVideoTransformer(size, dtype)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            spread = 1 / math.sqrt(weight.shape[1])
            if name.endswith(("linear_proj.weight", "down_proj.weight")):
                spread *= BRANCH / math.sqrt(2 * size.num_layers)
            nn.init.normal_(weight, 0, spread, generator=generator)
        else:
            nn.init.constant_(weight, HEAD_NORM if name.endswith(("q_norm.weight", "k_norm.weight")) else 0.0)
    with torch.no_grad():
        _embed(model, generator)
    take_bearings(model, generator)
    return model


def _embed(model: AudioVideoTransformer, generator: torch.Generator) -> None:
    """Used channels go in by orthogonal directions, spare ones not at all; at first nothing comes out."""
    used = NUM_USED * PATCH * PATCH
    video, audio = model.adapter.video_embedder.weight, model.adapter.audio_embedder.weight
    video[:, :used] = _orthogonal(model.size.hidden, used, generator)  # channel c * 4 + place
    video[:, used:] = 0
    audio.copy_(_orthogonal(model.size.hidden, AUDIO_CHANNELS, generator))
    model.final_linear_video.weight.zero_()
    model.final_linear_audio.weight.zero_()


def _orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    axes: Tensor = torch.linalg.qr(torch.randn(rows, columns, generator=generator))[0]
    return axes
