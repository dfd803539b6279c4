"""The transformer's weights before training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from engine.embedded.codecs.fields import NUM_USED
from engine.model.dit import AudioVideoTransformer
from hhray.geometry import PATCH
from hhray.model_size import AUDIO_CHANNELS, EMBEDDED, VIDEO_CHANNELS, ModelSize, preset

SIZE = preset(EMBEDDED)
HEAD_NORM = 0.5
BRANCH = 0.3  # of what a layer adds at first


def new_model(seed: int, size: ModelSize = SIZE, dtype: torch.dtype = torch.bfloat16) -> AudioVideoTransformer:
    """A network that at first gives back what it is given: a velocity that is the noisy latent is nearly right where
    there is much noise."""
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
        _mirror_video(model, generator)
        _mirror_audio(model, generator)
    return model


def _mirror_video(model: AudioVideoTransformer, generator: torch.Generator) -> None:
    """Used channels go in by orthogonal directions and come out by the same; spare ones have no way in or out."""
    patch, hidden = PATCH * PATCH, model.size.hidden
    used = NUM_USED * patch
    axes = _orthogonal(hidden, used, generator)
    model.adapter.video_embedder.weight[:, :used] = axes  # channel c * 4 + place
    model.adapter.video_embedder.weight[:, used:] = 0
    by_channel = torch.unflatten((axes * math.sqrt(used / hidden)).T, 0, (NUM_USED, patch))
    out = torch.unflatten(model.final_linear_video.weight, 0, (patch, VIDEO_CHANNELS))  # place * 48 + c
    out.zero_()
    out[:, :NUM_USED] = by_channel.transpose(0, 1)


def _mirror_audio(model: AudioVideoTransformer, generator: torch.Generator) -> None:
    axes = _orthogonal(model.size.hidden, AUDIO_CHANNELS, generator)
    model.adapter.audio_embedder.weight.copy_(axes)
    model.final_linear_audio.weight.copy_(axes.T * math.sqrt(AUDIO_CHANNELS / model.size.hidden))


def _orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    axes: Tensor = torch.linalg.qr(torch.randn(rows, columns, generator=generator))[0]
    return axes
