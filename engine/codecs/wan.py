"""The Wan2.2 video codec of the diffusers library (model specification 4.2): both halves.

Its encoder serves conditioning pictures and source videos; its decoder is the slower, higher-quality choice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from engine.codecs.latent_scale import denormalise, normalise
from engine.codecs.local_component import library, load_component
from engine.codecs.turbo import to_frames
from hhray.errors import ConfigError
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE
from hhray.model_size import VIDEO_CHANNELS

WHAT = "the Wan2.2 video codec (folder vae/ of Wan-AI/Wan2.2-TI2V-5B-Diffusers)"


class WanVideoCodec:
    """Satisfies VideoCodec and SourceVideoEncoder; computes on the device and in the dtype of its weights."""

    def __init__(self, vae: Any) -> None:  # noqa: ANN401 - diffusers.AutoencoderKLWan, which has no types
        self._vae = vae

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """From a local folder in diffusers' layout.

        Raises:
            ConfigError: files are absent or damaged, or another codec lies there.
        """
        model_class = library("diffusers").AutoencoderKLWan
        # the other way of loading needs one library more, and saves 3 GB of host memory for a moment
        vae = load_component(model_class, folder, WHAT, torch_dtype=dtype, low_cpu_mem_usage=False)
        config = vae.config
        found = (config.z_dim, config.scale_factor_temporal, config.scale_factor_spatial)
        if found != (VIDEO_CHANNELS, TEMPORAL_STRIDE, SPATIAL_STRIDE):
            raise ConfigError(
                f"{WHAT}: the codec in {folder} has (channels, time stride, space stride) {found}, "
                f"not {(VIDEO_CHANNELS, TEMPORAL_STRIDE, SPATIAL_STRIDE)}"
            )
        return cls(vae.to(device))

    @property
    def module(self) -> nn.Module:
        """The network, for whoever places its weights."""
        network: nn.Module = self._vae
        return network

    def encode(self, picture: Tensor) -> Tensor:
        """[3, H, W] in [-1, 1] -> normalised posterior mean, float32 [48, 1, H / 16, W / 16]."""
        return self.encode_video(picture[:, None])

    @torch.inference_mode()
    def encode_video(self, video: Tensor) -> Tensor:
        """[3, F, H, W] in [-1, 1], F = 4 (T - 1) + 1 -> normalised posterior mean, float32 [48, T, H / 16, W / 16]."""
        posterior = self._vae.encode(video[None].to(self._vae.device, self._vae.dtype)).latent_dist
        return normalise(posterior.mean[0])

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Tensor:
        """float32 [48, T, h, w] -> uint8 [4 (T - 1) + 1, 16 h, 16 w, 3] on the CPU."""
        mu = denormalise(latent).to(self._vae.device, self._vae.dtype)
        return to_frames(self._vae.decode(mu[None]).sample[0]).cpu()
