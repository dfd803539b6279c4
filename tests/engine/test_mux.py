"""Clips, decoded again."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

from engine.clip import Clip
from engine.codecs.additive import AdditiveAudioCodec
from engine.mux import centre_crop
from hhray.geometry import PIXELS, ClipGeometry, Ratio, Resolution, Size


@pytest.fixture(scope="module")
def sound():
    latent = torch.randn(64, 77, generator=torch.Generator().manual_seed(0))
    return AdditiveAudioCodec().decode(latent)


def grey_ramp(geometry):
    """Frames that grow brighter with time, red on the left and blue on the right, in the size of the base stage."""
    frames = torch.zeros(77, geometry.base.height, geometry.base.width, 3, dtype=torch.uint8)
    frames += (torch.arange(77, dtype=torch.uint8) * 2 + 40)[:, None, None, None]
    frames[:, :, : geometry.base.width // 2, 2] = 0
    frames[:, :, geometry.base.width // 2 :, 0] = 0
    return frames


def save(path, frames, sound, geometry, sample_rate=48000):
    return Clip(frames, sound, 51_200, geometry.output, geometry.num_frames, sample_rate=sample_rate).save(path)


@pytest.mark.parametrize(
    ("resolution", "ratio", "sample_rate"),
    [
        (Resolution.P256, Ratio.R16_9, 48000),
        (Resolution.P256, Ratio.R9_21, 44100),
        (Resolution.P720, Ratio.R16_9, 48000),
        (Resolution.P480, Ratio.R4_3, 44100),
    ],
)
def test_a_clip_is_exactly_what_was_asked_for(tmp_path, sound, resolution, ratio, sample_rate):
    geometry = ClipGeometry(resolution, ratio, 3)
    path = tmp_path / "clip.mp4"
    report = save(path, grey_ramp(geometry), sound, geometry, sample_rate)
    assert (report.num_frames, report.num_samples) == (75, 3 * sample_rate)
    assert report.num_bytes == path.stat().st_size
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        frames = list(container.decode(video))
        assert (video.codec_context.name, video.profile, video.pix_fmt) == ("h264", "High", "yuv420p")
        assert (video.width, video.height) == (geometry.output.width, geometry.output.height)
        assert (frames[0].width, frames[0].height) == (geometry.output.width, geometry.output.height)
        assert video.average_rate == 25
        assert len(frames) == 75
        assert [round(frame.time * 25) for frame in frames] == list(range(75))
        assert (frames[0].color_primaries, frames[0].color_trc, frames[0].colorspace) == (1, 1, 1)
        assert (audio.codec_context.name, audio.profile) == ("aac", "LC")
        assert (audio.rate, audio.layout.name) == (sample_rate, "stereo")
        assert float(audio.duration * audio.time_base) == pytest.approx(3, abs=1e-9)
        assert float(video.duration * video.time_base) == pytest.approx(3, abs=1e-9)
        assert container.duration == pytest.approx(3_000_000, abs=1000)
    with av.open(str(path)) as container:
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    # AAC comes in frames of 1,024 samples: the container says where the sound ends, a decoder gives the last one whole
    assert 0 <= heard.shape[1] - 3 * sample_rate < 1024
    assert 0.01 < np.sqrt((heard**2).mean()) < 0.5
    assert np.abs(heard).max() < 1


def test_the_index_comes_before_the_data(tmp_path, sound):
    geometry = ClipGeometry(Resolution.P256, Ratio.R1_1, 3)
    save(tmp_path / "clip.mp4", grey_ramp(geometry), sound, geometry)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_sound_that_is_made_last_lies_beside_its_pictures(tmp_path):
    frames = torch.randint(0, 255, (301, 32, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Clip(frames, torch.zeros(2, 48_000 * 12), 48_000, Size(64, 32), 300).save(tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        packets = sorted((packet for packet in container.demux() if packet.size), key=lambda packet: packet.pos)
        latest = {"video": 0.0, "audio": 0.0}
        for packet in packets:
            latest[packet.stream.type] = float(packet.dts * packet.time_base)
            assert abs(latest["video"] - latest["audio"]) < 2
    assert latest["video"] > 11.5


def test_colours_and_order_of_frames_survive(tmp_path, sound):
    geometry = ClipGeometry(Resolution.P256, Ratio.R16_9, 3)
    frames = grey_ramp(geometry)
    save(tmp_path / "clip.mp4", frames, sound, geometry)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        for index, frame in enumerate(container.decode(video=0)):
            pixels = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray().astype(int)
            wanted = frames[index].numpy().astype(int)
            for column in (100, 350):
                assert np.abs(pixels[128, column] - wanted[128, column]).max() <= 8


def test_resampled_sound_is_in_time(tmp_path):
    time = torch.arange(77 * 2048) / 51200
    tone = 0.5 * torch.sin(2 * torch.pi * 440 * time)
    geometry = ClipGeometry(Resolution.P256, Ratio.R1_1, 3)
    save(tmp_path / "clip.mp4", grey_ramp(geometry), torch.stack([tone, -tone]), geometry)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(144_000) / 48_000)
    middle = slice(10_000, 130_000)
    assert np.abs(heard[0, middle] - wanted[middle]).max() < 0.05
    assert np.abs(heard[1, middle] + wanted[middle]).max() < 0.05


@pytest.mark.parametrize("ratio", Ratio)
def test_the_crop_has_the_aspect_of_the_output_and_is_centred(ratio):
    base = PIXELS[ratio][0]
    marks = np.zeros((base.height, base.width, 3), np.uint8)
    for output in PIXELS[ratio][1:]:
        height, width, _ = centre_crop(marks, output).shape
        assert (height == base.height) or (width == base.width)
        assert width / height == pytest.approx(output.aspect, rel=0.5 / min(width, height))


def test_the_crop_takes_as_much_on_either_side():
    columns = np.arange(10)[None, :, None].repeat(4, 0)
    assert centre_crop(columns, Size(6, 4))[0, :, 0].tolist() == [2, 3, 4, 5, 6, 7]
