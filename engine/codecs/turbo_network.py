"""The Turbo decoder's network: one chunk of latents to one chunk of video (model specification 4.3).

conv_in, a middle block, four up-blocks (coarse to fine), then norm, SiLU, conv_out and 2 x 2 pixels out of channels.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from engine.codecs.turbo_config import TurboConfig
from engine.codecs.turbo_layers import Conv, FrameConv, ResBlock, Upsampler, channel_rms

COLOURS = 3


class TurboDecoder(nn.Module):
    """Parameters have the names of the published checkpoint; all of them lie below `decoder`."""

    def __init__(self, config: TurboConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = ChunkDecoder(config)

    def forward(self, latents: Tensor, is_first: bool) -> Tensor:
        """A chunk of codec latents (not normalised) to raw video.

        Args:
            latents: [B, 48, T, h, w] in the dtype of the weights.
            is_first: whether the chunk begins the clip.

        Returns:
            [B, 3, 4 T (4 T - 3 if first), 16 h, 16 w] in the same dtype; pictures lie about [-1, 1].
        """
        video: Tensor = self.decoder(latents, is_first)
        return video


class ChunkDecoder(nn.Module):
    def __init__(self, config: TurboConfig) -> None:
        super().__init__()
        widths = config.decoder_block_out_channels[::-1]
        middle_depth, *depths = config.decoder_layers_per_block[::-1]
        kernels = [config.decoder_dw_kernel_size if separable else 0 for separable in config.decoder_is_dw_conv[::-1]]
        middle_kernel, *block_kernels = kernels
        scaled, only_space = config.decoder_spatio_temporal_scaling[::-1], config.decoder_spatio_only[::-1]
        self.conv_in = Conv(config.latent_channels, widths[0], 3, 3)
        self.mid_block = Middle(widths[0], middle_depth, middle_kernel)
        inputs = (widths[0], *widths)
        self.up_blocks = nn.ModuleList(
            UpBlock(inputs[k], widths[k], depths[k], scaled[k], not only_space[k], block_kernels[k])
            for k in range(len(widths))
        )
        self.upsampler2d_1 = None if config.use_unpatchify else ShuffledUpsampler(widths[-1])
        pixels = config.patch_size**2
        inner, outer = (widths[-1], COLOURS * pixels) if config.use_unpatchify else (widths[-1] // pixels, COLOURS)
        self.conv_out = Conv(inner, outer, 3, 3)

    def forward(self, x: Tensor, is_first: bool) -> Tensor:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x, is_first)
        x = F.silu(channel_rms(x), inplace=True)
        if self.upsampler2d_1 is None:
            return unpatchify(self.conv_out(x))
        x = F.silu(channel_rms(self.upsampler2d_1(x)), inplace=True)
        video: Tensor = self.conv_out(x)
        return video


class Middle(nn.Module):
    def __init__(self, channels: int, depth: int, kernel: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(channels, channels, separable_kernel=kernel) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        return x


class UpBlock(nn.Module):
    """A change of width, if any; the upsampler, if any; then res blocks."""

    def __init__(self, inner: int, outer: int, depth: int, scaled: bool, doubles_time: bool, kernel: int) -> None:
        super().__init__()
        self.conv_in = ResBlock(inner, outer) if inner != outer else None
        self.upsamplers = nn.ModuleList([Upsampler(outer, doubles_time)] if scaled else [])
        self.resnets = nn.ModuleList(ResBlock(outer, outer, scaled, kernel) for _ in range(depth))

    def forward(self, x: Tensor, is_first: bool) -> Tensor:
        if self.conv_in is not None:
            x = self.conv_in(x)
        for upsampler in self.upsamplers:
            x = upsampler(x, is_first)
        for resnet in self.resnets:
            x = resnet(x)
        return x


class ShuffledUpsampler(nn.Module):
    """The other tail (use_unpatchify false): a convolution of each frame, then channels to 2 x 2 pixels, rows first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = FrameConv(channels)

    def forward(self, x: Tensor) -> Tensor:
        frames = F.pixel_shuffle(self.conv(x).transpose(1, 2), 2)
        return frames.transpose(1, 2)


def unpatchify(x: Tensor) -> Tensor:
    """[B, 3 * 4, F, h, w] -> [B, 3, F, 2 h, 2 w]; channel c * 4 + dx * 2 + dy is the pixel at column dx, row dy."""
    cells = x.reshape(x.shape[0], COLOURS, 2, 2, *x.shape[2:]).permute(0, 1, 4, 5, 3, 6, 2)  # B, c, F, h, dy, w, dx
    return cells.flatten(5, 6).flatten(3, 4)
