"""The Turbo VAE decoder: latents to frames, window by window (model specification 4.3).

Memory is bounded by one window's video and activations, however long the clip: `decode_windows` yields video as it is
made. Windows are independent, so `decode_window` of any window on any rank gives the same video.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from engine.codecs.base import VideoEncoder
from engine.codecs.latent_scale import denormalise
from engine.codecs.turbo_config import TurboConfig
from engine.codecs.turbo_files import load_turbo
from engine.codecs.turbo_network import COLOURS, TurboDecoder
from engine.codecs.turbo_windows import num_decoded_frames, windows
from engine.codecs.window import Window
from hhray.geometry import SPATIAL_STRIDE

__all__ = [
    "TurboConfig",
    "TurboDecoder",
    "TurboVideoCodec",
    "Window",
    "decode",
    "decode_window",
    "decode_windows",
    "load_turbo",
    "num_decoded_frames",
    "to_frames",
    "windows",
]


class TurboVideoCodec:
    """Satisfies VideoCodec and WindowedDecoder: the Turbo decoder, and another codec's encoder: Turbo has none."""

    def __init__(self, decoder: TurboDecoder, encoder: VideoEncoder) -> None:
        self._decoder, self._encoder = decoder, encoder

    def encode(self, picture: Tensor) -> Tensor:
        """[3, H, W] in [-1, 1] -> [48, 1, H / 16, W / 16], by the given encoder."""
        return self._encoder.encode(picture)

    def decode(self, latent: Tensor) -> Tensor:
        """[48, T, h, w] -> uint8 [4 (T - 1) + 1, 16 h, 16 w, 3] on the CPU."""
        _, num_latents, height, width = latent.shape
        shape = (num_decoded_frames(num_latents), height * SPATIAL_STRIDE, width * SPATIAL_STRIDE, COLOURS)
        frames = torch.empty(shape, dtype=torch.uint8)
        for window in self.windows(num_latents):
            frames[window.first_frame : window.first_frame + window.num_frames] = self.decode_window(latent, window)
        return frames

    def windows(self, num_latents: int) -> tuple[Window, ...]:
        """Those of a clip, in order."""
        return windows(num_latents, self._decoder.config)

    def decode_window(self, latent: Tensor, window: Window) -> Tensor:
        """[48, T, h, w] -> uint8 [window.num_frames, 16 h, 16 w, 3] on the decoder's device."""
        return to_frames(decode_window(self._decoder, latent, window))


def decode(decoder: TurboDecoder, z: Tensor) -> Tensor:
    """The whole raw video: float32 latents [48, T, h, w] -> float32 [3, 4 (T - 1) + 1, 16 h, 16 w] about [-1, 1]."""
    return torch.cat([video.float() for _, video in decode_windows(decoder, z)], dim=1)


def decode_windows(decoder: TurboDecoder, z: Tensor) -> Iterator[tuple[Window, Tensor]]:
    """Every window of a clip in order, with its video as `decode_window` gives it."""
    for window in windows(z.shape[1], decoder.config):
        yield window, decode_window(decoder, z, window)


@torch.inference_mode()
def decode_window(decoder: TurboDecoder, z: Tensor, window: Window) -> Tensor:
    """The raw video of one window.

    Args:
        z: the clip's normalised latents, float32 [48, T, h, w]; all of them, though only the window's are read.
        window: one of `windows(T, decoder.config)`.

    Returns:
        [3, window.num_frames, 16 h, 16 w], in the dtype and on the device of the decoder's weights.
    """
    weight = decoder.decoder.conv_in.conv.weight
    places = torch.arange(window.start, window.stop, device=z.device).clamp(max=z.shape[1] - 1)
    latents = denormalise(z[:, places]).to(weight.device, weight.dtype)
    video: Tensor = decoder(latents[None], window.is_first)[0]
    return video[:, window.skip : window.skip + window.num_frames]


def to_frames(video: Tensor) -> Tensor:
    """Raw video [3, F, H, W] of any float dtype -> uint8 RGB [F, H, W, 3]: x / 2 + 1/2, clamped, times 255, cut off."""
    frames = [(frame.float() / 2).add_(0.5).clamp_(0, 1).mul_(255).to(torch.uint8) for frame in video.unbind(1)]
    return torch.stack(frames).permute(0, 2, 3, 1).contiguous()
