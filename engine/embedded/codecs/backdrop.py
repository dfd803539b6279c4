"""What is drawn behind the things: one even tone, or the tones of the cells where they truly differ, and a texture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.embedded.codecs.drawing import TextureNetwork
from engine.embedded.codecs.fields import BACK, LEVELS, TEXTURE
from hhray.geometry import SPATIAL_STRIDE

PLAIN = 0.2  # of 2: smaller differences from the mean tone are noise
ABSENT, FULL = -0.3, 1.0  # what the channels of the textures say
DOUBT = (0.3, 0.7)  # between these shares a texture is blended in


class Backdrop:
    """The empty pictures of latents float32 [48, T, h, w]."""

    def __init__(self, latent: Tensor, network: TextureNetwork) -> None:
        tones = latent[BACK] / LEVELS["back"]
        self._height, self._width = (SPATIAL_STRIDE * side for side in latent.shape[2:])
        self._mean = tones.flatten(1).median(dim=1).values[:, None, None]
        apart = F.avg_pool3d(tones[None] - self._mean[:, None], 3, stride=1, padding=1, count_include_pad=False)[0]
        self._apart = apart.sign() * (apart.abs() - PLAIN).clamp(min=0)
        strength = ((latent[TEXTURE] / LEVELS["back"]).mean(dim=(1, 2, 3)) - ABSENT) / (FULL - ABSENT)
        strength = ((strength - DOUBT[0]) / (DOUBT[1] - DOUBT[0])).clamp(0, 1)
        self._texture = torch.einsum("k,kchw->chw", strength, network(self._height, self._width))

    def at(self, time: int) -> Tensor:
        """float32 [H, W, 3] in [-1, 1] of latent `time`."""
        picture = self._mean + self._texture
        apart = self._apart[:, time]
        if apart.any():
            grown = F.interpolate(apart[None], (self._height, self._width), mode="bilinear", align_corners=False)
            picture = picture + grown[0]
        return picture.clamp(-1, 1).permute(1, 2, 0).contiguous()
