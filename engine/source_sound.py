"""Inside the reader process: sound at its own rate, every sample where its timestamp says, written raw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from engine.source_container import opened, sound_stream
from hhray.errors import MediaError

MIN_RATE, MAX_RATE = 4_000, 192_000
JITTER_SECONDS = 0.02  # timestamps of many files are rounded to milliseconds: sound that nearly joins, joins
SIDE_WEIGHT = 0.7071  # of centre and surround channels in a mix of two
NO_SOUND = "the file has no sound that can be decoded; send WAV, MP3, M4A, FLAC or OGG"


def write_video_sound(path: Path, output: Path, began: float, seconds: float) -> int | None:
    """Write the sound of a video from `began` (seconds of the file's clock) on, float32 stereo [2, N], silence where
    it has none. Returns the rate in Hz, None where there is no track."""
    with opened(path, "mp4") as container:
        stream = sound_stream(container)
        if stream is None:
            return None
        rate = _checked_rate(stream)
        sound = _placed(container, stream, Fraction(began), round(seconds * rate)).sound
    stereo = np.repeat(sound, 2, axis=0) if len(sound) == 1 else sound
    output.write_bytes(stereo.tobytes())
    return rate


def write_sound(path: Path, output: Path, max_seconds: float) -> tuple[int, int, int]:
    """Write the first `max_seconds` of a sound file as float32 [C, N]; returns rate in Hz, C (1 or 2) and N.

    Raises:
        MediaError: it is no WAV, MP3, M4A, FLAC or OGG file, or has no sound.
    """
    with opened(path, _format_of(path)) as container:
        stream = sound_stream(container)
        if stream is None:
            raise MediaError("UnsupportedFileFormat", NO_SOUND)
        rate = _checked_rate(stream)
        track = _placed(container, stream, None, round(max_seconds * rate))
    if not track.end:
        raise MediaError("UnsupportedFileFormat", NO_SOUND)
    output.write_bytes(track.sound[:, : track.end].tobytes())
    return rate, len(track.sound), track.end


def _format_of(path: Path) -> str:
    """FFmpeg's name of the format, by the file's first bytes: what the client calls it does not count."""
    with path.open("rb") as file:
        head = file.read(12)
    known = ((b"RIFF", 0, "wav"), (b"fLaC", 0, "flac"), (b"OggS", 0, "ogg"), (b"ftyp", 4, "mp4"), (b"ID3", 0, "mp3"))
    for mark, at, name in known:
        if head[at:].startswith(mark):
            return name
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
        return "mp3"
    raise MediaError("UnsupportedFileFormat", NO_SOUND)


def _checked_rate(stream: AudioStream) -> int:
    rate = stream.codec_context.sample_rate
    if not MIN_RATE <= rate <= MAX_RATE:
        raise MediaError("UnsupportedFileFormat", f"the sound has {rate} samples a second; send 4,000 to 192,000")
    return rate


@dataclass
class _Track:
    """Sound as it is placed: [C, num_samples] from `began` on (seconds; None: from its first sample on), C 0 before the
    first frame. `position` is where the last frame ended, `end` how far there is sound."""

    rate: int
    num_samples: int
    began: Fraction | None
    sound: NDArray[np.float32]
    position: int | None = None
    end: int = 0

    def add(self, samples: NDArray[np.float32], time: Fraction | None) -> bool:
        """Place a frame [C, N]; False when the track is full."""
        if self.position is None:
            self.sound = np.zeros((len(samples), self.num_samples), np.float32)
        position = self._where(time)
        skipped = max(0, -position)
        inside = samples[: len(self.sound), skipped : max(skipped, self.num_samples - position)]
        place = position + skipped
        self.sound[: len(inside), place : place + inside.shape[1]] = inside
        self.position = position + samples.shape[1]
        self.end = max(self.end, min(self.position, self.num_samples))
        return self.position < self.num_samples

    def _where(self, time: Fraction | None) -> int:
        if time is None:
            return self.position or 0
        if self.began is None:
            self.began = max(time, Fraction(0))
        stamp = round((time - self.began) * self.rate)
        joins = self.position is not None and abs(stamp - self.position) <= JITTER_SECONDS * self.rate
        return self.position if joins and self.position is not None else stamp


def _placed(container: InputContainer, stream: AudioStream, began: Fraction | None, num_samples: int) -> _Track:
    rate = stream.codec_context.sample_rate
    track = _Track(rate, num_samples, began, np.zeros((1, num_samples), np.float32))
    for frame in _frames(container, stream):
        if frame.sample_rate != rate:
            raise MediaError("UnsupportedFileFormat", "the sound changes its rate; send a file of one rate")
        time = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
        samples = mixed(_as_float(frame), [channel.name for channel in frame.layout.channels])
        if not track.add(samples, time):
            break
    return track


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decoded sound; damaged packets are left out, and silence stays in their place."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        yield from (frame for frame in frames if isinstance(frame, AudioFrame))


def _as_float(frame: AudioFrame) -> NDArray[np.float32]:
    """Samples in [-1, 1], [C, N]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    if samples.dtype.kind == "f":
        finite = np.nan_to_num(samples, posinf=1, neginf=-1).clip(-1, 1)
        return finite.astype(np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    return samples.astype(np.float32) / np.float32(2 ** (8 * samples.dtype.itemsize - 1))


def mixed(samples: NDArray[np.float32], names: list[str]) -> NDArray[np.float32]:
    """At most two channels of sound [C, N]: more are mixed by where they stand, so that the sum cannot clip."""
    if len(samples) <= 2:
        return samples
    weights = np.zeros((2, len(samples)), np.float32)
    for index, name in enumerate(names):
        if name in ("FL", "FR"):
            weights["LR".index(name[1]), index] = 1
        elif name.endswith(("L", "R")):
            weights["LR".index(name[-1]), index] = SIDE_WEIGHT
        elif name != "LFE":
            weights[:, index] = SIDE_WEIGHT
    stereo = (weights / weights.sum(axis=1, keepdims=True).clip(1)) @ samples
    return np.asarray(stereo, np.float32)
