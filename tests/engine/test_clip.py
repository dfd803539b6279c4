"""What is delivered of a clip: frames and sound of the exact length and size, in memory and in the file."""

from __future__ import annotations

import math

import av
import numpy as np
import pytest
import torch

import engine.clip as clip_module
import engine.pixels as pixels_module
from engine.clip import Clip
from hhray.errors import EngineFault
from hhray.geometry import Size

DECODED = Size(64, 32)


def counting(count, size=DECODED):
    """Frames whose brightness is their number."""
    numbers = torch.arange(count, dtype=torch.uint8)[:, None, None, None]
    return numbers.expand(count, size.height, size.width, 3).contiguous()


def tone(seconds, rate=51_200):
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (0.5 * torch.sin(2 * math.pi * 440 * time)).float().expand(2, -1).contiguous()


def clip(num_frames=75, seconds=3.08, rate=51_200, size=DECODED, **options):
    return Clip(counting(max(77, num_frames)), tone(seconds, rate), rate, size, num_frames, **options)


def decoded(path):
    with av.open(str(path)) as container:
        frames = [(frame.time, int(frame.to_ndarray(format="gray").mean())) for frame in container.decode(video=0)]
        lengths = [float(stream.duration * stream.time_base) for stream in container.streams]
    return frames, lengths


@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
@pytest.mark.parametrize("num_frames", [75, 83, 166])
def test_sound_has_exactly_the_length_of_the_picture(num_frames, sample_rate):
    audio = clip(num_frames, 7, sample_rate=sample_rate).audio
    assert audio.dtype is torch.float32
    assert audio.shape == (2, sample_rate * num_frames // 25)
    wanted = tone(num_frames / 25, sample_rate)
    assert (audio - wanted)[:, 500:-500].abs().max() < 1e-3


def test_sound_that_ends_early_is_followed_by_silence():
    audio = clip(75, 2.0).audio
    assert audio.shape == (2, 144_000)
    assert audio[:, 90_000:95_000].abs().max() > 0.4
    assert audio[:, 96_200:].abs().max() == 0


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_sound_of_a_source_at_its_own_rate_is_delivered(rate):
    assert (clip(75, 3.0, rate).audio - tone(3, 48_000))[:, 500:-500].abs().max() < 1e-3


def test_loud_sound_does_not_leave_the_range():
    assert Clip(counting(75), 3 * tone(3), 51_200, DECODED, 75).audio.abs().max() == 1


def test_frames_of_the_decoded_size_are_delivered_as_they_are():
    made = clip()
    assert torch.equal(made.frames, made.decoded[:75])
    assert made.seconds == 3


@pytest.mark.parametrize("size", [Size(128, 64), Size(96, 96), Size(32, 16), Size(50, 100)])
def test_frames_are_cropped_about_the_centre_and_resized(size):
    frames = counting(4)
    frames[:, :, 16:48] = 200  # the middle square
    shown = Clip(frames, tone(1), 51_200, size, 3).frames
    assert shown.shape == (3, size.height, size.width, 3)
    assert shown.dtype is torch.uint8
    middle = shown[:, :, size.width // 2 - 4 : size.width // 2 + 4]
    assert (middle.int() - 200).abs().max() <= 1
    if size.width <= size.height:
        assert (shown[:, :, 2:-2].int() - 200).abs().max() <= 1


def test_at_24_a_second_one_frame_of_25_is_left_out_and_the_sound_stays():
    made = clip(frames_per_second=24)
    numbers = made.frames[:, 0, 0, 0].tolist()
    assert numbers == [number for number in range(75) if number % 25 != 12]
    assert torch.equal(made.audio, clip().audio)


@pytest.mark.parametrize(("num_frames", "rate"), [(75, 24), (83, 24), (83, 25)])
def test_the_file_shows_the_same_frames_at_their_times(tmp_path, num_frames, rate):
    made = clip(num_frames, 4, frames_per_second=rate)
    report = made.save(tmp_path / "clip.mp4")
    frames, (picture, sound) = decoded(tmp_path / "clip.mp4")
    shown = made.frames[:, 0, 0, 0].tolist()
    assert report.num_frames == len(frames) == len(shown) == round(num_frames * rate / 25)
    assert report.num_samples == num_frames * 1920
    assert [time for time, _ in frames] == pytest.approx([k / rate for k in range(len(shown))], abs=1e-4)
    first, last = frames[0][1], frames[-1][1]
    slope = (last - first) / (shown[-1] - shown[0])  # full range became limited range
    assert all(abs(grey - first - slope * number) <= 2 for (_, grey), number in zip(frames, shown, strict=True))
    assert sound == pytest.approx(num_frames / 25, abs=1e-9)
    assert abs(picture - sound) <= 0.5 / 24


def test_frames_are_resized_when_the_encoder_takes_them(tmp_path, monkeypatch):
    resized, made, taken = pixels_module.resized, [], []

    def watched(pixels, size):
        made.append(None)
        return resized(pixels, size)

    def taking(path, pictures, *arguments):
        for picture in pictures:
            taken.append((len(made), picture.width, picture.format.name))
        path.touch()

    monkeypatch.setattr(pixels_module, "resized", watched)
    monkeypatch.setattr(clip_module, "write_mp4", taking)
    clip(20, size=Size(128, 64)).save(tmp_path / "clip.mp4")
    assert taken == [(count, 128, "yuv420p") for count in range(1, 21)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_frames": 78},
        {"num_frames": 0},
        {"decoded": torch.zeros(77, 8, 8, 3)},
        {"sound": torch.zeros(1, 100)},
        {"frames_per_second": 30},
        {"sample_rate": 22_050},
    ],
)
def test_what_is_no_clip_is_refused(wrong):
    fields = {"decoded": counting(77), "sound": tone(1), "sound_rate": 51_200, "size": DECODED, "num_frames": 75}
    with pytest.raises(EngineFault):
        Clip(**(fields | wrong))


def test_numpy_frames_of_a_source_can_be_a_clip(tmp_path):
    frames = torch.from_numpy(np.zeros((5, 32, 64, 3), np.uint8))
    assert Clip(frames, tone(0.2), 51_200, DECODED, 5).save(tmp_path / "clip.mp4").num_frames == 5
