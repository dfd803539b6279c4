"""Source videos and driving sound, good and hostile; every file is really encoded and really decoded."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from engine.source_video import VideoFacts, probe_video
from hhray.errors import MediaError
from hhray.geometry import Size

MEMORY = 2 * 1024**3


def write_video(path, pictures, rate, *, sound=None, sound_rate=48000, time_base=None, times=None, form="mp4"):
    """Encode uint8 frames [H, W, 3] at `rate`, or at `times` in units of `time_base`, with sound [C, N] or none."""
    with av.open(str(path), "w", format=form) as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "12"})
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        if sound is not None:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound)]
            audio = container.add_stream("aac", rate=sound_rate, layout=layout, bit_rate=64_000 * len(sound))
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = sound_rate, 0, Fraction(1, sound_rate)
            container.mux([*audio.encode(frame), *audio.encode()])
        for index, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.time_base = time_base or 1 / Fraction(rate)
            frame.pts = index if times is None else times[index]
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return path


def plain(count, level=128, width=64, height=48):
    return [np.full((height, width, 3), level, np.uint8)] * count


def silence(seconds, channels=2, rate=48000):
    return np.zeros((channels, int(seconds * rate)), np.float32)


def probe(path, seconds=20.0, memory=MEMORY):
    return probe_video(path, memory_bytes=memory, seconds=seconds)


@pytest.mark.parametrize(("rate", "form"), [(24, "mp4"), (Fraction(30000, 1001), "mov")])
def test_facts_of_a_video(tmp_path, rate, form):
    path = write_video(tmp_path / "a", plain(36), rate, sound=silence(1), form=form)
    facts = probe(path)
    assert facts == VideoFacts(
        Size(64, 48), pytest.approx(36 / rate, abs=1e-3), pytest.approx(float(rate), abs=1e-3), True
    )
    assert not probe(write_video(tmp_path / "b", plain(24), rate)).has_sound


def turn_upright_by_90(path):
    """Write the display matrix of a telephone held upright into the picture track's header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix comes after 40 bytes
    one = 1 << 16
    matrix = (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)


def test_the_size_is_that_of_the_upright_picture(tmp_path):
    path = write_video(tmp_path / "a.mp4", plain(12), 12)
    turn_upright_by_90(path)
    assert probe(path).size == Size(48, 64)


def hostile_files(whole):
    return {
        "empty": b"",
        "text": b"this is no video",
        "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "gif": b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
        "no index": whole[: len(whole) // 2],
        "noise behind a good header": whole[:64] + bytes(range(256)) * 64,
    }


def test_files_that_are_no_video_are_refused(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", plain(12), 12).read_bytes()
    for name, data in hostile_files(whole).items():
        (tmp_path / "file").write_bytes(data)
        with pytest.raises(MediaError) as caught:
            probe(tmp_path / "file")
        assert caught.value.code == "BadRequest.UnsupportedFileFormat", name
        assert "send" in caught.value.message


def moving(count, width=320, height=240):
    """Pictures that cannot be compressed away."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def test_damage_is_found_by_decoding(tmp_path):
    path = write_video(tmp_path / "a.mp4", moving(12), 12)
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    data[begin : begin + 200_000] = np.random.default_rng(1).bytes(200_000)
    path.write_bytes(data)
    with pytest.raises(MediaError) as caught:
        probe(path)
    assert caught.value.code == "BadRequest.UnsupportedFileFormat"


def test_too_little_memory_or_time_is_said_so(tmp_path):
    path = write_video(tmp_path / "a.mp4", moving(3, 2048, 1536), 12)
    assert probe(path).size == Size(2048, 1536)
    with pytest.raises(MediaError, match="memory") as caught:
        probe(path, memory=120_000_000)
    assert caught.value.code == "BadRequest.TooLarge"
