"""Stand-in for the video codec: a latent pixel holds the average colours of a 4 x 4 grid inside its 16 x 16 pixels.

48 channels = 3 colours x 4 x 4. An encoded picture is recognisable after decode, zeros are mid-grey, noise is blobs of
colour. In time, frames run linearly from one latent to the next, four frames each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.codecs.window import Window
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE

SUBGRID = 4
CELL = SPATIAL_STRIDE // SUBGRID
CONTRAST = 2.0  # pictures in [-1, 1] have a standard deviation of about one half
CHUNK_FRAMES = 16


class AveragingVideoCodec:
    """See the module's docstring; satisfies VideoCodec, WindowedDecoder and SourceVideoEncoder."""

    def encode(self, picture: Tensor) -> Tensor:
        """[3, H, W] in [-1, 1] -> [48, 1, H / 16, W / 16]."""
        return self.encode_video(picture[:, None])

    def encode_video(self, video: Tensor) -> Tensor:
        """[3, 4 (T - 1) + 1, H, W] in [-1, 1] -> [48, T, H / 16, W / 16]; latent i is frame 4 i, as decode shows it."""
        cells = F.avg_pool2d(video[:, ::TEMPORAL_STRIDE].transpose(0, 1), CELL)
        return CONTRAST * F.pixel_unshuffle(cells, SUBGRID).transpose(0, 1)

    def decode(self, latent: Tensor) -> Tensor:
        """[48, T, h, w] -> uint8 [4 (T - 1) + 1, 16 h, 16 w, 3], some frames at a time to bound memory."""
        _, num_latents, height, width = latent.shape
        num_frames = TEMPORAL_STRIDE * (num_latents - 1) + 1
        frames = torch.empty(num_frames, height * SPATIAL_STRIDE, width * SPATIAL_STRIDE, 3, dtype=torch.uint8)
        for window in self.windows(num_latents):
            frames[window.first_frame : window.first_frame + window.num_frames] = self.decode_window(latent, window)
        return frames

    def windows(self, num_latents: int) -> tuple[Window, ...]:
        """Of 16 frames; each sees the latent after its last, towards which its frames run."""
        num_frames = TEMPORAL_STRIDE * (num_latents - 1) + 1
        starts = range(0, num_frames, CHUNK_FRAMES)
        return tuple(self._window(first, min(CHUNK_FRAMES, num_frames - first), num_latents) for first in starts)

    def decode_window(self, latent: Tensor, window: Window) -> Tensor:
        """[48, T, h, w] -> uint8 [window.num_frames, 16 h, 16 w, 3] on the CPU."""
        seen = latent[:, window.start : window.stop].float().cpu()
        cells = F.pixel_shuffle(seen.transpose(0, 1), SUBGRID) / CONTRAST
        small = self._between(cells, torch.arange(window.num_frames))
        large = F.interpolate(small, scale_factor=CELL, mode="bilinear", align_corners=False)
        pixels = large.add_(1).mul_(127.5).round_().clamp_(0, 255)
        return pixels.permute(0, 2, 3, 1).to(torch.uint8)

    @staticmethod
    def _window(first: int, count: int, num_latents: int) -> Window:
        start, last = first // TEMPORAL_STRIDE, (first + count - 1) // TEMPORAL_STRIDE
        return Window(start, min(last + 2, num_latents), 0, first, count)

    @staticmethod
    def _between(cells: Tensor, frames: Tensor) -> Tensor:
        """Cells [T, 3, h, w] at the times of `frames`; frame 4 i is cell i itself."""
        first = frames // TEMPORAL_STRIDE
        second = (first + 1).clamp(max=len(cells) - 1)
        share = (frames % TEMPORAL_STRIDE / TEMPORAL_STRIDE)[:, None, None, None]
        return torch.lerp(cells[first], cells[second], share)
