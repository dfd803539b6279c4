"""Writes frames and sound as an MP4 of an exact length: H.264 High yuv420p and AAC-LC.

Frames are taken, and can be made, one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from hhray.geometry import Size

BT709 = 1
LIMITED_RANGE = 1
AUDIO_BITS_PER_SECOND = 160_000
ENCODER = {"preset": "veryfast", "crf": "20", "profile": "high"}


def write_mp4(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    sound: NDArray[np.float32],
    size: Size,
    frames_per_second: int,
    sample_rate: int,
    threads: int,
) -> None:
    """Write a file with exactly these frames and samples.

    Args:
        path: the file; replaced if it exists.
        frames: uint8 RGB [H, W, 3] of `size`, taken one by one.
        sound: float32 stereo [2, N] at `sample_rate` Hz, of the same length in seconds.
        threads: of the video encoder.
    """
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = _video_stream(container, size, frames_per_second, threads)
        audio = container.add_stream("aac", rate=sample_rate, layout="stereo", bit_rate=AUDIO_BITS_PER_SECOND)
        _write_audio(container, audio, np.ascontiguousarray(sound), sample_rate)
        _write_video(container, video, frames, frames_per_second)


def enlarged(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A frame [H', W', 3] cropped about its centre to the aspect of `size` and enlarged or reduced to it: [H, W, 3]."""
    cropped = np.ascontiguousarray(centre_crop(pixels, size))
    if cropped.shape[:2] == (size.height, size.width):
        return cropped
    picture = VideoFrame.from_ndarray(cropped, format="rgb24")
    resized = picture.reformat(width=size.width, height=size.height, interpolation=Interpolation.BICUBIC)
    return np.asarray(resized.to_ndarray(), np.uint8)


def centre_crop(frames: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """The largest centred part of frames [..., H, W, 3] that has the aspect of `size`, to the nearest pixel."""
    height, width = frames.shape[-3:-1]
    kept = Size(width, height).middle(size.aspect)
    return frames[..., kept.top : kept.top + kept.height, kept.left : kept.left + kept.width, :]


def _video_stream(container: OutputContainer, size: Size, frames_per_second: int, threads: int) -> VideoStream:
    stream = container.add_stream("libx264", rate=frames_per_second, options=ENCODER)
    stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
    context = stream.codec_context
    context.thread_count = threads
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED_RANGE
    return stream


def _write_video(
    container: OutputContainer, stream: VideoStream, frames: Iterable[NDArray[np.uint8]], frames_per_second: int
) -> None:
    for index, pixels in enumerate(frames):
        picture = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC,
        )
        picture.pts, picture.time_base = index, Fraction(1, frames_per_second)
        container.mux(stream.encode(picture))
    container.mux(stream.encode())


def _write_audio(container: OutputContainer, stream: AudioStream, sound: NDArray[np.float32], sample_rate: int) -> None:
    frame = AudioFrame.from_ndarray(sound, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
