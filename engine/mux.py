"""Writes frames and sound as an MP4: H.264 High yuv420p and AAC-LC, at 25 frames a second, of an exact length.

Frames go through the encoder one by one: centre-crop to the output's aspect, enlarge, encode.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream
from torch import Tensor

from engine.codecs.base import SOUND_RATE
from hhray.geometry import FRAMES_PER_SECOND, ClipGeometry, Size

BT709 = 1
LIMITED_RANGE = 1
AUDIO_BITS_PER_SECOND = 160_000
ENCODER = {"preset": "veryfast", "crf": "20", "profile": "high"}


def write_clip(
    path: Path, frames: Tensor, sound: Tensor, geometry: ClipGeometry, sample_rate: int, threads: int
) -> int:
    """Write a clip of exactly `geometry.duration` seconds and `geometry.output` pixels.

    Args:
        path: the file; replaced if it exists.
        frames: uint8 RGB [F, H, W, 3], at least `geometry.num_frames` of them; later ones are dropped.
        sound: float32 stereo [2, N] at 51,200 Hz, at least as long; the rest is dropped.
        sample_rate: of the file's sound, in Hz.
        threads: of the video encoder.

    Returns:
        Audio samples written, per channel.
    """
    num_samples = sample_rate * geometry.duration
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = _video_stream(container, geometry.output, threads)
        audio = container.add_stream("aac", rate=sample_rate, layout="stereo", bit_rate=AUDIO_BITS_PER_SECOND)
        _write_audio(container, audio, _resampled(sound, sample_rate, num_samples), sample_rate)
        _write_video(container, video, frames[: geometry.num_frames].numpy(), geometry.output)
    return num_samples


def centre_crop(frames: np.ndarray, size: Size) -> np.ndarray:
    """The largest centred part of frames [..., H, W, 3] that has the aspect of `size`, to the nearest pixel."""
    height, width = frames.shape[-3:-1]
    kept_width = min(width, round(height * size.aspect))
    kept_height = min(height, round(width / size.aspect))
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return frames[..., top : top + kept_height, left : left + kept_width, :]


def _video_stream(container: OutputContainer, size: Size, threads: int) -> VideoStream:
    stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=ENCODER)
    stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
    context = stream.codec_context
    context.thread_count = threads
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED_RANGE
    return stream


def _write_video(container: OutputContainer, stream: VideoStream, frames: np.ndarray, size: Size) -> None:
    for index, pixels in enumerate(centre_crop(frames, size)):
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
            width=size.width,
            height=size.height,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC,
        )
        picture.pts, picture.time_base = index, Fraction(1, FRAMES_PER_SECOND)
        container.mux(stream.encode(picture))
    container.mux(stream.encode())


def _write_audio(container: OutputContainer, stream: AudioStream, sound: np.ndarray, sample_rate: int) -> None:
    frame = AudioFrame.from_ndarray(sound, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _resampled(sound: Tensor, sample_rate: int, num_samples: int) -> np.ndarray:
    """Stereo [2, num_samples] at the new rate; a tail the resampler leaves short is filled with silence."""
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound.numpy()), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
    resampler = AudioResampler(format="fltp", layout="stereo", rate=sample_rate)
    parts = [part.to_ndarray() for part in (*resampler.resample(frame), *resampler.resample(None))]
    whole = np.concatenate(parts, axis=1)[:, :num_samples]
    return np.pad(whole, ((0, 0), (0, num_samples - whole.shape[1])))
