"""Given pictures and videos are delivered as they were: neither zoomed nor moved, at whatever size the model runs."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from PIL import Image

from engine.clip import Clip
from engine.codecs.additive import AdditiveAudioCodec
from engine.codecs.averaging import AveragingVideoCodec
from engine.codecs.bytewise import BytewiseTextEncoder
from engine.conditioning import Conditioner, MediaLimits
from engine.messages import ClipJob
from engine.picture import load_picture
from hhray.capabilities import Capabilities
from hhray.geometry import Resolution, Size
from hhray.memory_parts import Stage
from hhray.model_size import EMBEDDED_SHARE, preset
from hhray.served_model import ServedModel

SMALL = ServedModel(preset("embedded"), native_share=EMBEDDED_SHARE)
FINE = ServedModel(preset("pico"), ladder={Resolution.P720: Stage.SR_540P})
PLACES = ((0.15, 0.2), (0.85, 0.2), (0.15, 0.8), (0.85, 0.8))  # of four marks, as shares of width and height


class Encoders:
    text, video_encoder, sound = BytewiseTextEncoder(64), AveragingVideoCodec(), AdditiveAudioCodec()


def marked(width, height):
    """A dark picture with a bright square about each of the places."""
    pixels = np.full((height, width, 3), 30, np.uint8)
    half = height // 12
    for x, y in PLACES:
        column, row = round(x * width), round(y * height)
        pixels[row - half : row + half, column - half : column + half] = 230
    return pixels


def marks(frame):
    """The centre of what is bright in each quarter of a frame: x and y in pixels."""
    height, width, _ = frame.shape
    weight = np.clip(frame.mean(axis=2) - 40.0, 0, None)
    centres = []
    for x, y in PLACES:
        rows = slice(0, height // 2) if y < 0.5 else slice(height // 2, height)
        columns = slice(0, width // 2) if x < 0.5 else slice(width // 2, width)
        part = weight[rows, columns]
        row = (part.sum(axis=1) * (np.arange(part.shape[0]) + rows.start + 0.5)).sum() / part.sum()
        column = (part.sum(axis=0) * (np.arange(part.shape[1]) + columns.start + 0.5)).sum() / part.sum()
        centres.append((column, row))
    return np.array(centres)


def delivered(latent, geometry):
    """The first frame of a clip that begins with this latent."""
    clip = Clip(AveragingVideoCodec().decode(latent), torch.zeros(2, 2048), 51_200, geometry.output, 1)
    return clip.frames[0].numpy()


def expected(size):
    return np.array(PLACES) * (size.width, size.height)


def prepared(served, job, tmp_path):
    conditioner = Conditioner(Encoders(), served, MediaLimits(10_000_000, tmp_path), torch.device("cpu"))
    return conditioner.prepare(job, served.passes(job.geometry))


@pytest.mark.parametrize(
    ("served", "resolution", "run"),
    [(SMALL, "256P", ["160x96"]), (SMALL, "720P", ["160x96"]), (FINE, "720P", ["448x256", "1280x736"])],
)
def test_a_first_frame_is_the_picture_unzoomed(tmp_path, served, resolution, run):
    job = ClipJob("t", "x", 1, resolution, "16:9", 3, "i2v", (str(tmp_path / "first.png"),))
    size = job.geometry.output
    Image.fromarray(marked(size.width, size.height)).save(tmp_path / "first.png")
    frames = prepared(served, job, tmp_path).first_frames
    assert [f"{16 * one.shape[3]}x{16 * one.shape[2]}" for one in frames] == run
    for frame in frames:
        seen = marks(delivered(frame, job.geometry))
        assert abs(seen - expected(size)).max() < 2


def test_a_source_video_is_unzoomed_too(tmp_path):
    job = ClipJob("t", "x", 1, "256P", "16:9", 3, "video-edit", video_path=str(tmp_path / "source.mp4"))
    with av.open(job.video_path, "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "10"})
        video.width, video.height, video.pix_fmt = 448, 256, "yuv420p"
        for _ in range(5):
            container.mux(video.encode(av.VideoFrame.from_ndarray(marked(448, 256), format="rgb24")))
        container.mux(video.encode())
    latent = prepared(SMALL, job, tmp_path).clip.source
    assert tuple(latent.shape) == (48, 20, 6, 10)
    assert abs(marks(delivered(latent, job.geometry)) - expected(Size(448, 256))).max() < 2


def test_a_reference_is_whole(tmp_path):
    """A square picture beside clips of 16:9: no part of it is cut off, although its sides are whole tokens."""
    Image.fromarray(marked(300, 200)).save(tmp_path / "reference.png")
    job = ClipJob("t", "[Image 1]", 1, "256P", "16:9", 3, "r2v", (str(tmp_path / "reference.png"),))
    served = ServedModel(preset("embedded"), Capabilities(r2v=True), native_share=EMBEDDED_SHARE)
    _, tokens = prepared(served, job, tmp_path).clip.conditions
    assert tokens.shape.grid == (1, 3, 5)  # 160 x 96 for 160 x 107
    picture = load_picture(job.images[0], Size(160, 96), 10_000_000, 1.5).transpose(1, 2, 0)
    assert abs(marks((picture + 1) * 127.5) - np.add(expected(Size(144, 96)), (8, 0))).max() < 1


def test_edges_are_repeated_around_the_part_that_is_delivered(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    picture = load_picture(tmp_path / "noise.png", Size(1280, 736), 10_000_000, 1280 / 720)
    part = np.rint((picture[:, 8:728].transpose(1, 2, 0) + 1) * 127.5)
    assert np.array_equal(part, pixels)
    assert np.array_equal(picture[:, :8], np.repeat(picture[:, 8:9], 8, axis=1))
    assert np.array_equal(picture[:, 728:], np.repeat(picture[:, 727:728], 8, axis=1))
