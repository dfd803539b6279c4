"""How frames lie between a decoder and H.264: the planes that are encoded where they need no resizing, else RGB.

The planes are made on the decoder's device, so that half the bytes leave it, and PyAV is given their memory as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray
from torch import Tensor

from hhray.geometry import Size

# ITU-R BT.709: weights of red and blue in luma; luma 16 .. 235, chroma 16 .. 240 (limited range)
RED, BLUE = 0.2126, 0.0722
GREEN = 1 - RED - BLUE
LUMA_SCALE, LUMA_ZERO = 219 / 255, 16
CHROMA_SCALE, CHROMA_ZERO = 112 / 255, 128


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """Frames `decoded` large that are delivered `delivered` large; `planar` if as planes of the delivered size."""

    decoded: Size
    delivered: Size
    planar: bool

    @classmethod
    def of_clip(cls, decoded: Size, delivered: Size) -> Self:
        """Planar where cropping is all that is to be done; PyAV takes planes of a height that 4 divides."""
        kept = decoded.middle(delivered.aspect)
        same = Size(kept.width, kept.height) == delivered
        return cls(decoded, delivered, same and delivered.width % 2 == 0 and delivered.height % 4 == 0)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Of one frame's bytes: RGB [H, W, 3] as decoded, or [3 H / 2, W] of the delivered size: Y, then U, then V."""
        if self.planar:
            return self.delivered.height * 3 // 2, self.delivered.width
        return self.decoded.height, self.decoded.width, 3

    def laid_out(self, frames: Tensor) -> Tensor:
        """uint8 RGB [F, H, W, 3] as decoded -> uint8 [F, *frame_shape] on the same device."""
        if not self.planar:
            return frames
        kept = self.decoded.middle(self.delivered.aspect)
        cropped = frames[:, kept.top : kept.top + kept.height, kept.left : kept.left + kept.width]
        planes = frames.new_empty((len(frames), *self.frame_shape))
        for frame, result in zip(cropped, planes, strict=True):  # one by one: float32 takes four times the memory
            result.copy_(yuv420(frame))
        return planes

    def pictures(self, frames: Iterable[Tensor], *, own: bool = False) -> Iterator[VideoFrame]:
        """Frames [*frame_shape] on the CPU, contiguous -> frames as the encoder takes them, of the delivered size.

        With `own` they may be changed: none of them lies in the memory of `frames`.
        """
        if self.planar and own:
            return (VideoFrame.from_ndarray(frame.numpy(), format="yuv420p") for frame in frames)
        if self.planar:
            return (VideoFrame.from_numpy_buffer(frame.numpy(), format="yuv420p") for frame in frames)
        return (_as_planes(resized(frame.numpy(), self.delivered)) for frame in frames)


def yuv420(frame: Tensor) -> Tensor:
    """uint8 RGB [H, W, 3], H divisible by 4 and W by 2 -> uint8 [3 H / 2, W]: planes Y [H, W], U and V [H / 2, W / 2].

    Limited range, ITU-R BT.709 (6/2015) items 3.2 to 3.5 with 8 bits; a chroma sample is that of the mean of its 2 x 2
    pixels. Each result depends on its own pixels only, in one order of operations: windows may be cut anywhere.
    """
    height, width, _ = frame.shape
    red, green, blue = colours = frame.permute(2, 0, 1).float()
    luma = LUMA_SCALE * (RED * red + GREEN * green + BLUE * blue) + LUMA_ZERO
    red, green, blue = F.avg_pool2d(colours, 2)
    grey = RED * red + GREEN * green + BLUE * blue
    chroma = torch.stack([(blue - grey) / (1 - BLUE), (red - grey) / (1 - RED)]) * CHROMA_SCALE + CHROMA_ZERO
    planes = torch.cat([luma, chroma.reshape(height // 2, width)])
    return planes.round_().to(torch.uint8)


def centre_crop(frames: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """The largest centred part of frames [..., H, W, 3] that has the aspect of `size`, to the nearest pixel."""
    height, width = frames.shape[-3:-1]
    kept = Size(width, height).middle(size.aspect)
    return frames[..., kept.top : kept.top + kept.height, kept.left : kept.left + kept.width, :]


def enlarged(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A frame [H', W', 3] cropped about its centre to the aspect of `size` and enlarged or reduced to it: [H, W, 3]."""
    return np.asarray(resized(pixels, size).to_ndarray(), np.uint8)


def resized(pixels: NDArray[np.uint8], size: Size) -> VideoFrame:
    """As `enlarged`, in the library's memory: what resizes reads beyond the end of rows, which needs its padding."""
    picture = VideoFrame.from_ndarray(np.ascontiguousarray(centre_crop(pixels, size)), format="rgb24")
    return picture.reformat(width=size.width, height=size.height, interpolation=Interpolation.BICUBIC)


def _as_planes(picture: VideoFrame) -> VideoFrame:
    return picture.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC,
    )
