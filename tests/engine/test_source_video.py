"""Source videos and driving sound, good and hostile; every file is really encoded and really decoded."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine import source_process
from engine.source_frames import shown_frames
from engine.source_sound import mixed
from engine.source_video import VideoFacts, probe_video, read_sound, read_video
from hhray.errors import MediaError
from hhray.geometry import Size

MEMORY = 2 * 1024**3
SMALL = Size(64, 48)


def write_video(path, pictures, rate, *, sound=None, sound_rate=48000, time_base=None, times=None, form="mp4"):
    """Encode uint8 frames [H, W, 3] at `rate`, or at `times` in units of `time_base`, with sound [C, N] or none."""
    with av.open(str(path), "w", format=form) as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "12"})
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = time_base or 1 / Fraction(rate)
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


@pytest.mark.parametrize("call", [probe, lambda path, memory: read(path, memory=memory)])
def test_too_little_memory_is_said_so(tmp_path, call):
    path = write_video(tmp_path / "a.mp4", plain(3, 128, 4096, 4096), 25)
    with pytest.raises(MediaError, match="memory") as caught:
        call(path, memory=240_000_000)
    assert caught.value.code == "BadRequest.TooLarge"


def test_more_pixels_than_can_be_edited_are_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", plain(1, 128, 4128, 4096), 25)
    with pytest.raises(MediaError, match="4096") as caught:
        probe(path)
    assert caught.value.code == "BadRequest.TooLarge"


def read(path, size=SMALL, num_frames=25, seconds=20.0, memory=MEMORY):
    scratch = path.parent / "scratch"
    try:
        return read_video(
            path, size=size, num_frames=num_frames, scratch_dir=scratch, memory_bytes=memory, seconds=seconds
        )
    finally:
        assert list(scratch.iterdir()) == []


def levels(frames):
    """The brightness of each frame, as `counting` chose it."""
    return np.rint((frames[:, 20:28, 28:36].mean(axis=(1, 2, 3)) - 20) / 4).astype(int).tolist()


def counting(count):
    """Frames whose brightness is their number."""
    return [np.full((48, 64, 3), 20 + 4 * index, np.uint8) for index in range(count)]


@pytest.mark.parametrize("rate", [12, 24, 25, Fraction(30000, 1001), 30, 50])
def test_each_frame_is_what_the_source_shows_at_its_time(tmp_path, rate):
    path = write_video(tmp_path / "a.mp4", counting(int(rate) + 2), rate)
    wanted = [int(Fraction(k, 25) * rate) for k in range(25)]
    assert levels(read(path).frames) == wanted


def test_a_variable_rate_and_a_late_start_are_followed(tmp_path):
    times = [500, 540, 700, 701, 1100, 1420]  # milliseconds: the picture begins late, and stands still in between
    path = write_video(tmp_path / "a.mp4", counting(6), 25, times=times, time_base=Fraction(1, 1000))
    since = [k * 40 + 500 for k in range(25)]
    assert levels(read(path).frames) == [max(i for i, t in enumerate(times) if t <= now) for now in since]


def test_the_last_frame_stays_where_the_source_ends_early(tmp_path):
    clip = read(write_video(tmp_path / "a.mp4", counting(10), 25, sound=silence(0.4)), num_frames=30)
    assert clip.frames.shape == (30, 48, 64, 3)
    assert levels(clip.frames) == [*range(10), *[9] * 20]
    assert clip.sound.shape == (2, round(30 / 25 * 48000))


@pytest.mark.parametrize("times", [[0, 0, 0], [5, 3, 4], [0, 10**15]])
def test_strange_times_end_all_the_same(times):
    timed = ((Fraction(at, 25), at) for at in times)
    assert sum(count for _, count in shown_frames(timed, 50)) == 50


def test_frames_are_cropped_about_the_centre_and_reduced(tmp_path):
    picture = np.zeros((240, 640, 3), np.uint8)
    picture[:, 160:480] = 250  # 4:3 in the middle
    clip = read(write_video(tmp_path / "a.mp4", [picture] * 3, 25), size=Size(64, 48), num_frames=3)
    assert clip.frames.dtype == np.uint8
    assert clip.frames[:, :, 2:-2].min() > 235


def test_colours_are_right_and_a_turned_picture_is_upright(tmp_path):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :, 0] = picture[24:, :, 2] = 200  # red above, blue below
    path = write_video(tmp_path / "a.mp4", [picture] * 3, 25)
    straight = read(path, num_frames=3).frames[1].astype(int)
    assert np.abs(straight - picture)[4:20].max() < 16
    assert np.abs(straight - picture)[28:44].max() < 16
    turn_upright_by_90(path)
    turned = read(path, size=Size(48, 64), num_frames=3).frames[1].astype(int)
    assert np.abs(turned - np.rot90(picture, -1))[:, 4:20].max() < 16  # blue on the left now


def flash_and_click(rate, second, sound_rate):
    """A second and a half of black and silence with a white flash and a click of 10 ms at its start."""
    shown = round(second * rate)
    pictures = plain(int(rate * 1.5), 16)
    pictures[shown : shown + 2] = plain(2, 235)  # two frames: of 30 a second, 25 cannot show every one
    sound = silence(1.5, rate=sound_rate)
    begin = round(shown / rate * sound_rate)
    sound[:, begin : begin + sound_rate // 100] = 0.8
    return pictures, sound


@pytest.mark.parametrize(
    ("rate", "sound_rate"), [(12, 44100), (24, 48000), (25, 44100), (Fraction(30000, 1001), 48000), (30, 44100)]
)
def test_a_flash_and_a_click_stay_together(tmp_path, rate, sound_rate):
    pictures, sound = flash_and_click(rate, 0.8, sound_rate)
    clip = read(write_video(tmp_path / "a.mp4", pictures, rate, sound=sound, sound_rate=sound_rate), num_frames=36)
    assert clip.sound_rate == sound_rate
    flash = int(np.argmax(clip.frames.mean(axis=(1, 2, 3)) > 100))
    click = int(np.argmax(np.abs(clip.sound[0]) > 0.3)) / sound_rate
    shown = round(0.8 * rate) / rate
    assert click == pytest.approx(shown, abs=0.003)
    assert 0 <= flash / 25 - shown < 0.04  # the first moment of 25 a second at which the source shows the flash
    assert abs((flash - 0.5) / 25 - click) <= 0.021


def test_sound_follows_a_picture_that_begins_late(tmp_path):
    pictures, sound = flash_and_click(25, 0.8, 48000)
    times = [index + 10 for index in range(len(pictures))]
    path = write_video(tmp_path / "a.mp4", pictures, 25, sound=sound, times=times, time_base=Fraction(1, 25))
    clip = read(path, num_frames=30)
    click = int(np.argmax(np.abs(clip.sound[0]) > 0.3)) / 48000
    assert click == pytest.approx(0.8 - 10 / 25, abs=0.003)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_sound_becomes_stereo(tmp_path, channels):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    sound = silence(1, channels)
    sound[0] = tone
    clip = read(write_video(tmp_path / "a.mp4", plain(25), 25, sound=sound))
    assert clip.sound.shape == (2, 48000)
    assert clip.sound.dtype == np.float32
    loud = clip.sound[:, 4800:43200].std(axis=1)
    left = 0.5 / np.sqrt(2) / (1 if channels < 6 else 1 + 2 * 0.7071)
    assert loud[0] == pytest.approx(left, rel=0.05)
    assert loud[1] == pytest.approx(left if channels == 1 else 0, abs=0.01)


def test_many_channels_are_mixed_by_where_they_stand():
    names = ["FL", "FR", "FC", "LFE", "BL", "BR"]
    left, right = mixed(np.eye(6, dtype=np.float32), names)
    assert left == pytest.approx(np.array([1, 0, 0.7071, 0, 0.7071, 0]) / 2.4142, abs=1e-4)
    assert right == pytest.approx(np.array([0, 1, 0.7071, 0, 0, 0.7071]) / 2.4142, abs=1e-4)


def test_a_video_without_sound_has_none(tmp_path):
    clip = read(write_video(tmp_path / "a.mp4", plain(5), 25), num_frames=5)
    assert clip.sound is None
    assert clip.sound_rate == 0


def test_a_damaged_middle_shows_the_frame_before_it(tmp_path):
    path = write_video(tmp_path / "a.mp4", moving(25), 25)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 30_000] = bytes(30_000)
    path.write_bytes(data)
    assert read(path, num_frames=25).frames.shape == (25, 48, 64, 3)


def test_a_reader_that_takes_too_long_is_ended(tmp_path):
    path = write_video(tmp_path / "a.mp4", moving(40, 1280, 720), 25)
    with pytest.raises(MediaError, match=r"more than 0\.1 seconds") as caught:
        read(path, size=Size(1280, 720), num_frames=3000, seconds=0.1)
    assert caught.value.code == "BadRequest.TooLarge"


def test_a_reader_that_waits_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(source_process, "START_SECONDS", 0.3)
    os.mkfifo(tmp_path / "never.mp4")
    with pytest.raises(MediaError) as caught:
        probe(tmp_path / "never.mp4", seconds=0.1)
    assert caught.value.code == "BadRequest.TooLarge"


@pytest.mark.parametrize("module", ["this", "engine.no_such_module"])
def test_a_reader_that_answers_nothing_sensible_is_not_believed(tmp_path, monkeypatch, module):
    monkeypatch.setattr(source_process, "READER", module)
    with pytest.raises(MediaError) as caught:
        probe(write_video(tmp_path / "a.mp4", plain(1), 25))
    assert caught.value.code == "BadRequest.UnsupportedFileFormat"


def test_a_path_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", plain(2), 25)
    assert probe(Path("a.mp4")).seconds == pytest.approx(0.08)


SOUND_FILES = [
    ("wav", "pcm_s16le"),
    ("wav", "pcm_f32le"),
    ("mp3", "libmp3lame"),
    ("mp4", "aac"),
    ("flac", "flac"),
    ("ogg", "libopus"),
]


def write_sound_file(path, form, codec, sound, rate):
    with av.open(str(path), "w", format=form) as container:
        layout = "mono" if len(sound) == 1 else "stereo"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        packed = np.ascontiguousarray(sound.T.reshape(1, -1), np.float32)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        to_codec = av.AudioResampler(format=stream.format, layout=layout, rate=rate, frame_size=stream.frame_size)
        for part in (*to_codec.resample(frame), *to_codec.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("form", "codec"), SOUND_FILES)
@pytest.mark.parametrize("channels", [1, 2])
def test_driving_sound_of_every_kind_is_read_in_time(tmp_path, form, codec, channels):
    sound = silence(1, channels)
    time = np.arange(24000) / 48000
    sound[:, 24000:] = 0.5 * np.sin(2 * np.pi * 440 * time)
    path = write_sound_file(tmp_path / "a.bin", form, codec, sound, 48000)
    heard, rate = read_sound(path, max_seconds=15, scratch_dir=tmp_path / "scratch", memory_bytes=MEMORY, seconds=20)
    assert rate == 48000
    assert heard.shape[0] == channels
    assert heard.dtype == np.float32
    assert heard.shape[1] / rate == pytest.approx(1, abs=0.05)
    assert np.argmax(np.abs(heard[0]) > 0.1) / rate == pytest.approx(0.5, abs=0.004)
    assert heard[0, 28800:43200].std() == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_driving_sound_is_cut(tmp_path):
    path = write_sound_file(tmp_path / "a.wav", "wav", "pcm_s16le", silence(2, 1, 8000), 8000)
    heard, rate = read_sound(path, max_seconds=1.5, scratch_dir=tmp_path)
    assert (heard.shape, rate) == ((1, 12000), 8000)


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"fLaC" + bytes(99), b"ID3" + bytes(999), b"#EXTM3U\nhttp://x/", b"\xff\xfb"]
)
def test_files_that_are_no_sound_are_refused(tmp_path, data):
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(MediaError, match="send") as caught:
        read_sound(tmp_path / "a.wav", max_seconds=1, scratch_dir=tmp_path)
    assert caught.value.code == "BadRequest.UnsupportedFileFormat"
