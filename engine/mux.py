"""Writes frames and sound as an MP4 of an exact length: H.264 High yuv420p and AAC-LC.

Frames are taken, and can be made, one by one; the sound is asked for after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from engine.delivery import Delivery
from engine.pixels import centre_crop
from engine.video_encoder import VideoEncoder

__all__ = ["centre_crop", "write_mp4"]

BT709 = 1
LIMITED_RANGE = 1
AUDIO_BITS_PER_SECOND = 160_000
# Of the video encoder. What x264 writes depends on both, and a clip is to be the same file however many ranks made it.
# By slices, on a busy machine, it wrote up to four different files of the same frames in eight runs; by frames one in
# most series of five to thirty, at the same speed.
THREADS, SHARED_BY = 4, "FRAME"
# The index comes first, and packets are held back until both streams are there, however late the sound comes: players
# that read from the front then find picture and sound of a moment together.
CONTAINER = {"movflags": "+faststart", "max_interleave_delta": "0"}


def write_mp4(
    path: Path,
    pictures: Iterable[VideoFrame],
    sound: Callable[[], Tensor],
    delivery: Delivery,
    encoder: VideoEncoder,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a file with exactly these frames and samples.

    Args:
        path: the file; replaced if it exists.
        pictures: yuv420p of `delivery.size`, taken one by one.
        sound: gives float32 stereo [2, delivery.num_samples]; called once, after the last picture.
        delivery: rates and size.
        encoder: of the video.
        tags: of the file's metadata, beside what FFmpeg says of itself.

    Raises:
        av.error.FFmpegError: an encoder fails, or the file cannot be written.
    """
    options = CONTAINER | ({"movflags": f"{CONTAINER['movflags']}+use_metadata_tags"} if tags else {})
    with av.open(str(path), "w", format="mp4", options=options) as container:
        container.metadata.update(tags)
        video = _video_stream(container, delivery, encoder)
        rate = delivery.sample_rate
        audio = container.add_stream("aac", rate=rate, layout="stereo", bit_rate=AUDIO_BITS_PER_SECOND)
        _write_video(container, video, pictures, delivery.frames_per_second)
        _write_audio(container, audio, sound(), rate)


def _video_stream(container: OutputContainer, delivery: Delivery, encoder: VideoEncoder) -> VideoStream:
    made = container.add_stream(encoder.name, rate=delivery.frames_per_second, options=dict(encoder.options))
    stream = cast(VideoStream, made)
    stream.width, stream.height, stream.pix_fmt = delivery.size.width, delivery.size.height, "yuv420p"
    context = stream.codec_context
    context.thread_count, context.thread_type = THREADS, SHARED_BY
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED_RANGE
    return stream


def _write_video(
    container: OutputContainer, stream: VideoStream, pictures: Iterable[VideoFrame], frames_per_second: int
) -> None:
    for index, picture in enumerate(pictures):
        picture.pts, picture.time_base = index, Fraction(1, frames_per_second)
        container.mux(stream.encode(picture))
    container.mux(stream.encode())


def _write_audio(container: OutputContainer, stream: AudioStream, sound: Tensor, sample_rate: int) -> None:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound.numpy()), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
