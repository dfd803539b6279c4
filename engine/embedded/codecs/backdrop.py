"""What is drawn behind the things: one even tone, or the tones of the cells where they truly differ, and a texture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.embedded.codecs.drawing import TextureNetwork
from engine.embedded.codecs.fields import BACK, LEVELS, PRESENCE, TEXTURE
from hhray.geometry import SPATIAL_STRIDE

PLAIN = 0.2  # of 2: smaller differences from the mean tone are noise
ABSENT, FULL = -0.3, 1.0  # what the channels of the textures say
SPAN = 4  # latents before and after, over which a tone is evened
CLEAR = 0.2  # a cell of less presence shows what is behind
DOUBT = (0.3, 0.7)  # between these shares a texture is blended in


class Backdrop:
    """The empty pictures of latents float32 [48, T, h, w]."""

    def __init__(self, latent: Tensor, network: TextureNetwork) -> None:
        tones = latent[BACK] / LEVELS["back"]
        self._height, self._width = (SPATIAL_STRIDE * side for side in latent.shape[2:])
        self._mean = _lasting(tones.flatten(2).median(dim=2).values)[:, :, None, None]
        apart = F.avg_pool3d(F.pad(tones - self._mean, (1,) * 6, "replicate"), 3, stride=1)
        self._apart = apart.sign() * (apart.abs() - PLAIN).clamp(min=0)
        self._texture = torch.einsum("k,kchw->chw", _shares(latent), network(self._height, self._width))

    def at(self, time: int) -> Tensor:
        """float32 [H, W, 3] in [-1, 1] of latent `time`."""
        picture = self._mean[:, time] + self._texture
        apart = self._apart[:, time]
        if apart.any():
            grown = F.interpolate(apart[None], (self._height, self._width), mode="bilinear", align_corners=False)
            picture = picture + grown[0]
        return picture.clamp(-1, 1).permute(1, 2, 0).contiguous()


def _lasting(tones: Tensor) -> Tensor:
    """Tones [3, T], each the mean of those around it, as far back as ahead: a given first frame keeps its own."""
    count = tones.shape[1]
    reaches = [min(SPAN, time, count - 1 - time) for time in range(count)]
    means = [tones[:, time - reach : time + reach + 1].mean(dim=1) for time, reach in enumerate(reaches)]
    return torch.stack(means, dim=1)


def match_textures(latent: Tensor, pictures: Tensor, network: TextureNetwork) -> None:
    """Say in `latent`, in place, which texture the pictures have where nothing is before them.

    The reader tells stripes from plain, but chequers are faint to it; how much of a texture as it is drawn there is in
    a picture can be measured.

    Args:
        latent: float32 [48, T, h, w], what the reader said.
        pictures: float32 [T, 3, H, W], the last of each latent.
    """
    presence = latent[PRESENCE][0][:, None]
    clear = F.interpolate((presence < CLEAR * LEVELS["presence"]).float(), pictures.shape[2:])
    patterns = network(*pictures.shape[2:])
    uneven = (pictures - _mean(pictures, clear)) * clear
    found = []
    for pattern in patterns:
        wave = (pattern - _mean(pattern[None], clear)) * clear
        found.append((uneven * wave).sum() / wave.square().sum().clamp(min=1e-6))
    share = torch.maximum(_decided(torch.stack(found)), _shares(latent))
    share = torch.where(share == share.max(), share, 0)  # a background has one
    latent[TEXTURE] = LEVELS["back"] * (ABSENT + (FULL - ABSENT) * share)[:, None, None, None]


def _mean(pictures: Tensor, clear: Tensor) -> Tensor:
    """Mean colours of the clear pixels: [T, 3, 1, 1]."""
    return (pictures * clear).sum(dim=(2, 3), keepdim=True) / clear.sum(dim=(2, 3), keepdim=True).clamp(min=1)


def _shares(latent: Tensor) -> Tensor:
    """How much of each texture there is, of 0 to 1: [2]."""
    return _decided(((latent[TEXTURE] / LEVELS["back"]).mean(dim=(1, 2, 3)) - ABSENT) / (FULL - ABSENT))


def _decided(share: Tensor) -> Tensor:
    return ((share - DOUBT[0]) / (DOUBT[1] - DOUBT[0])).clamp(0, 1)
