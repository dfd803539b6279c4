"""Planes as H.264 takes them: their colours, their layout, and that they are handed over as they lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame

from engine.pixels import PixelLayout, yuv420
from hhray.geometry import PIXELS, Ratio, Size

# 8-bit codes of full colours in limited range BT.709, as ITU-R BT.709 gives them
CODES = {
    (255, 255, 255): (235, 128, 128),
    (0, 0, 0): (16, 128, 128),
    (255, 0, 0): (63, 102, 240),
    (0, 255, 0): (173, 42, 26),
    (0, 0, 255): (32, 240, 118),
    (255, 255, 0): (219, 16, 138),
    (0, 255, 255): (188, 154, 16),
    (255, 0, 255): (78, 214, 230),
}


def smooth(height, width):
    """A picture without edges, uint8 [height, width, 3]."""
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    colours = [rows + 0 * columns, columns + 0 * rows, (rows + columns) / 2]
    return (torch.stack(colours, dim=-1) * 255).to(torch.uint8)


@pytest.mark.parametrize(("colour", "code"), CODES.items())
def test_colours_have_the_codes_of_the_standard(colour, code):
    planes = yuv420(torch.tensor(colour, dtype=torch.uint8).expand(4, 6, 3))
    assert planes.shape == (6, 6)
    assert [part.unique().tolist() for part in planes.flatten().split([24, 6, 6])] == [[value] for value in code]


def test_ffmpeg_reads_the_planes_back_to_the_picture():
    layout = PixelLayout.of_clip(Size(256, 192), Size(256, 192))
    frames = smooth(192, 256)[None]
    (picture,) = layout.pictures(layout.laid_out(frames))
    assert (picture.format.name, picture.width, picture.height) == ("yuv420p", 256, 192)
    back = picture.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray().astype(int)
    assert np.abs(back - frames[0].numpy().astype(int)).max() <= 4
    source = VideoFrame.from_ndarray(frames[0].numpy(), format="rgb24")
    theirs = source.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG").to_ndarray()
    assert np.abs(picture.to_ndarray().astype(int) - theirs).max() <= 2, "the planes FFmpeg itself would make"


def test_the_encoder_is_given_the_memory_itself():
    layout = PixelLayout.of_clip(Size(64, 48), Size(64, 48))
    planes = layout.laid_out(torch.stack([smooth(48, 64)] * 3))
    for frame, picture in zip(planes, layout.pictures(planes), strict=True):
        assert picture.planes[0].buffer_ptr == frame.data_ptr()
        assert picture.planes[1].buffer_ptr == frame.data_ptr() + 64 * 48
        assert picture.planes[2].buffer_ptr == frame.data_ptr() + 64 * 48 * 5 // 4
    assert planes[0].numel() == frame.numel() == 64 * 48 * 3 // 2


def test_clips_of_the_run_size_are_cropped_on_the_device():
    for ratio in (Ratio.R16_9, Ratio.R9_16):
        for size in PIXELS[ratio]:
            layout = PixelLayout.of_clip(size.run(), size)
            assert layout.planar, (size, "the run size is cropped only")
            assert layout.frame_shape == (size.height * 3 // 2, size.width)
    assert not PixelLayout.of_clip(Size(320, 320), Size(624, 624)).planar
    assert not PixelLayout.of_clip(Size(96, 40), Size(64, 32)).planar
    assert not PixelLayout.of_clip(Size(64, 50), Size(64, 50)).planar, "PyAV takes no planes of 50 rows"
    frames = torch.zeros(1, 32, 96, 3, dtype=torch.uint8)
    frames[:, :, 16:80] = 255
    planes = PixelLayout.of_clip(Size(96, 32), Size(64, 32)).laid_out(frames)
    assert planes[0, :32].unique().tolist() == [235], "the middle columns are kept"


def test_frames_that_are_resized_stay_rgb():
    layout = PixelLayout.of_clip(Size(64, 48), Size(128, 96))
    frames = torch.stack([smooth(48, 64)] * 2)
    assert layout.laid_out(frames) is frames
    assert layout.frame_shape == (48, 64, 3)
    pictures = list(layout.pictures(frames))
    assert [(one.format.name, one.width, one.height) for one in pictures] == [("yuv420p", 128, 96)] * 2


def test_a_frame_is_laid_out_the_same_whatever_is_laid_out_with_it():
    layout = PixelLayout.of_clip(Size(64, 48), Size(64, 48))
    frames = torch.randint(0, 256, (5, 48, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    together = layout.laid_out(frames)
    assert all(torch.equal(layout.laid_out(frames[index : index + 1])[0], together[index]) for index in range(5))
