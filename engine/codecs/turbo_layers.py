"""Layers of the Turbo decoder (model specification 4.3). Shapes: x is [B, C, T, h, w] in the weights' dtype.

Convolutions see zeros around a frame, and copies of the first and last frame around the chunk.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-8
SHORTCUT_EPS = 1e-6


def channel_rms(x: Tensor, eps: float = NORM_EPS) -> Tensor:
    """x / sqrt(mean over channels of x^2 + eps); the mean is taken in float32, nothing else is."""
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32)
    return x * torch.rsqrt(norm.square_() / x.shape[1] + eps).to(x.dtype)


def extend_time(x: Tensor, kernel: int) -> Tensor:
    """Copies of the first and the last frame, (kernel - 1) / 2 each, so that a convolution keeps the length."""
    extra = kernel // 2
    return F.pad(x, (0, 0, 0, 0, extra, extra), mode="replicate") if extra else x


class Conv(nn.Module):
    """A dense convolution of kernel (time, space, space) that keeps the shape but for the channels."""

    def __init__(self, inner: int, outer: int, time: int, space: int) -> None:
        super().__init__()
        self.time = time
        self.conv = nn.Conv3d(inner, outer, (time, space, space), padding=(0, space // 2, space // 2))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(extend_time(x, self.time))
        return result


class SeparableConv(nn.Module):
    """A convolution of each channel alone, then a mixture of channels."""

    def __init__(self, inner: int, outer: int, kernel: int) -> None:
        super().__init__()
        padding = (0, kernel // 2, kernel // 2)
        self.kernel = kernel
        self.depthwise_conv = nn.Conv3d(inner, inner, kernel, padding=padding, groups=inner)
        self.pointwise_conv = nn.Conv3d(inner, outer, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.pointwise_conv(self.depthwise_conv(extend_time(x, self.kernel)))
        return result


class ResBlock(nn.Module):
    """x + conv(silu(rms(conv(act(rms(x)))))), with a normed 1x1x1 shortcut where the number of channels changes.

    `after_upsampler` makes the first activation a ReLU; `separable_kernel` makes both convolutions separable.
    """

    def __init__(self, inner: int, outer: int, after_upsampler: bool = False, separable_kernel: int = 0) -> None:
        super().__init__()
        self.act = F.relu if after_upsampler else F.silu
        self.conv1, self.conv2 = (
            SeparableConv(channels, outer, separable_kernel) if separable_kernel else Conv(channels, outer, 3, 3)
            for channels in (inner, outer)
        )
        self.conv_shortcut = Conv(inner, outer, 1, 1) if inner != outer else None

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(self.act(channel_rms(x), inplace=True))
        hidden = self.conv2(F.silu(channel_rms(hidden), inplace=True))
        if self.conv_shortcut is not None:
            x = self.conv_shortcut(channel_rms(x, SHORTCUT_EPS))
        result: Tensor = hidden.add_(x)
        return result


class Repeat(nn.Module):
    """Every pixel becomes 2 x 2 equal ones."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :, None, :, None].expand(*x.shape[:-1], 2, x.shape[-1], 2).flatten(-4, -3).flatten(-2)


class FrameConv(nn.Conv2d):
    """A 3x3 convolution of every frame alone; its weight has no time axis."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv3d(x, self.weight[:, :, None], self.bias, padding=(0, 1, 1))


class Upsampler(nn.Module):
    """Twice the frames, if `doubles_time`, then twice the height and width.

    The frames of a clip number 4 (T - 1) + 1: what the first latent frame would become before its own time is dropped,
    one frame at each doubling of the first chunk.
    """

    def __init__(self, channels: int, doubles_time: bool) -> None:
        super().__init__()
        self.time_conv = Conv(channels, 2 * channels, 3, 1) if doubles_time else None
        self.resample = nn.Sequential(Repeat(), FrameConv(channels))

    def forward(self, x: Tensor, is_first: bool) -> Tensor:
        if self.time_conv is not None:
            earlier, later = self.time_conv(x).chunk(2, dim=1)
            x = torch.stack([earlier, later], dim=3).flatten(2, 3)[:, :, int(is_first) :]
        result: Tensor = self.resample(x)
        return result
