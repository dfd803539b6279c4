"""RankWorker on one rank: a whole clip, and calls that must be refused."""

from __future__ import annotations

import json
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from engine.codecs.averaging import AveragingVideoCodec
from engine.picture import load_picture
from engine.worker import ClipJob, RankWorker, WorkerConfig
from hhray.errors import ConfigError, EngineFault, MediaError
from hhray.geometry import Size
from hhray.marking import Marking
from hhray.model_size import preset
from hhray.served_model import ServedModel


def make_config(folder, device="cpu"):
    served = ServedModel(preset("pico"))
    return WorkerConfig(0, 1, served, device, 2, str(folder / "scratch"), max_pixels=1_000_000)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    worker = RankWorker(make_config(tmp_path_factory.mktemp("worker")))
    worker.join("127.0.0.1", 0, 1.0)
    report = worker.load()
    assert report.parameters == 1_848_480
    assert report.weight_bytes == 4 * report.parameters
    assert report.seconds > 0
    assert "torch sdpa" in report.attention.values()
    yield worker
    worker.close()


@pytest.fixture
def batch(worker):
    """A batch that has been begun."""
    worker.begin("b", (make_job(),))
    yield "b"
    worker.end("b")


def make_job(resolution="256P", seed=5, image_path="", duration=3):
    mode, images = ("i2v", (image_path,)) if image_path else ("t2v", ())
    return ClipJob("task", "a red fox in the snow", seed, resolution, "1:1", duration, mode, images)


def picture_file(path):
    image = Image.linear_gradient("L").resize((400, 320)).convert("RGB")
    image.paste("red", (0, 0, 200, 160))
    image.save(path)
    return path


def test_a_picture_becomes_a_clip_that_starts_with_it(worker, tmp_path):
    path = picture_file(tmp_path / "first.png")
    job = replace(make_job("480P", image_path=str(path)), marking=Marking(producer="Acme"))  # nothing is drawn
    worker.begin("picture", (job,))
    reports = [worker.steps("picture", first, count) for first, count in ((0, 1), (1, 5), (6, 2))]
    assert [(report.first, report.count) for report in reports] == [(0, 1), (1, 5), (6, 2)]
    assert all(report.seconds > 0 and report.bytes_exchanged == 0 for report in reports)
    assert len({report.peak_activation_bytes for report in reports}) == 1
    assert reports[0].peak_activation_bytes > 1_000_000

    wanted = load_picture(path, Size(320, 320), 1_000_000)
    video, audio = worker.latents("picture", 0)
    assert (tuple(video.shape), tuple(audio.shape)) == ((48, 20, 20, 20), (77, 64))
    assert torch.equal(video[:, :1], AveragingVideoCodec().encode(torch.from_numpy(wanted)))

    worker.decode("picture", 0)
    report = worker.mux("picture", 0, "attempt-1.mp4")
    assert (report.width, report.height, report.num_frames, report.num_samples) == (624, 624, 75, 144_000)
    assert report.notice == (
        "Denoised at 320x320 and enlarged to 624x624 after decode: the pico model has no super-resolution stage "
        "for 480P."
    )
    assert report.marks == ("aigc",)
    with av.open(report.path) as container:
        assert json.loads(container.metadata["AIGC"])["ContentProducer"] == "Acme"
        first = next(container.decode(video=0)).to_ndarray(format="rgb24", width=320, height=320)
    seen = np.abs(first / 127.5 - 1 - wanted.transpose(1, 2, 0))
    assert seen.mean() < 0.08
    with pytest.raises(EngineFault, match="not decoded"):
        worker.mux("picture", 0, "attempt-2.mp4")
    worker.end("picture")
    with pytest.raises(EngineFault, match="no batch picture"):
        worker.latents("picture", 0)


def test_a_batch_refuses_steps_out_of_order_and_early_decodes(worker, batch):
    with pytest.raises(EngineFault, match="step 1 was asked for"):
        worker.steps(batch, 1, 1)
    with pytest.raises(EngineFault, match="not denoised yet: 0 steps"):
        worker.decode(batch, 0)
    with pytest.raises(EngineFault, match="is not decoded"):
        worker.mux(batch, 0, "clip.mp4")
    with pytest.raises(EngineFault, match="no clip 1"):
        worker.latents(batch, 1)
    with pytest.raises(EngineFault, match="exists already"):
        worker.begin(batch, (make_job(),))


@pytest.mark.parametrize(
    "name", ["../clip.mp4", "/etc/clip.mp4", "a/b.mp4", "..", ".", "", "a\x00b.mp4", ".hidden", "clip.mp4\n"]
)
def test_only_bare_file_names_are_written(worker, batch, name):
    with pytest.raises(EngineFault, match="bare file name"):
        worker.mux(batch, 0, name)


def test_jobs_of_different_shapes_are_refused(worker, tmp_path):
    path = str(picture_file(tmp_path / "first.png"))
    for jobs in ((), (make_job(), make_job(duration=4)), (make_job(), make_job(image_path=path))):
        with pytest.raises(EngineFault, match="one shape"):
            worker.begin("mixed", jobs)


def test_a_picture_that_cannot_be_read_leaves_no_batch_behind(worker, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(MediaError):
        worker.begin("bad", (make_job(image_path=str(tmp_path / "bad.png")),))
    with pytest.raises(EngineFault, match="no batch bad"):
        worker.steps("bad", 0, 1)


def test_ending_an_unknown_batch_is_fine(worker):
    worker.end("never begun")


def test_a_worker_that_is_not_loaded_says_so(tmp_path):
    with pytest.raises(EngineFault, match="not loaded"):
        RankWorker(make_config(tmp_path)).begin("b", (make_job(),))


def test_devices_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no device 'abacus'"):
        RankWorker(make_config(tmp_path, device="abacus"))


def test_a_rank_whose_peers_stay_away_gives_up(tmp_path):
    lonely = RankWorker(WorkerConfig(0, 2, ServedModel(preset("pico")), "cpu", 1, str(tmp_path)))
    port = lonely.open_rendezvous("127.0.0.1")
    with pytest.raises(EngineFault, match="did not meet its 1 peers"):
        lonely.join("127.0.0.1", port, 0.5)
    lonely.close()
