"""Files written beside the decode of their clip and beside what comes after it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import av
import pytest
import torch

import engine.clip_files as files_module
from disk_faults import full_disk
from engine.clip_files import ClipFiles
from engine.codecs.additive import AdditiveAudioCodec
from engine.codecs.averaging import AveragingVideoCodec
from engine.decoding import ClipDecoding
from engine.delivery import Delivery
from engine.exchange import GroupLink
from engine.mux import write_mp4
from engine.video_encoder import X264, VideoEncoder
from hhray.errors import DiskFull, EngineFault
from hhray.geometry import Size

DECODED = Size(64, 32)
PATIENCE = 60  # seconds, on a busy machine
BROKEN = VideoEncoder("libx264", {"preset": "no such preset"})


class Decoders:
    """The stand-ins; `before_window` is called before each window with its number."""

    device = torch.device("cpu")

    def __init__(self, before_window=lambda number: None):
        self.sound, codec = AdditiveAudioCodec(), AveragingVideoCodec()
        self.video_decoder, decode, numbers = codec, codec.decode_window, iter(range(100))

        def watched(latent, window):
            before_window(next(numbers))
            return decode(latent, window)

        codec.decode_window = watched


def decoding(decoders=None, size=DECODED, rgb=False, rate=25):
    """Of a clip of 40 frames at 64 x 32, three windows."""
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(48, 11, 2, 4, generator=generator), torch.randn(41, 64, generator=generator)
    delivery = Delivery(size, 40, rate)
    return ClipDecoding(latents, None, delivery, "a notice", decoders or Decoders(), GroupLink(), rgb)


@pytest.fixture
def files(tmp_path):
    made = ClipFiles(tmp_path / "scratch", X264)
    yield made
    made.close()


def written(files, one, name="clip.mp4"):
    files.begin("b", 0, one)
    one.run()
    return files.finish("b", 0, name)


@pytest.mark.parametrize(("size", "rate"), [(Size(64, 32), 25), (Size(128, 64), 25), (Size(64, 32), 24)])
def test_the_file_is_the_one_the_clip_saves(files, tmp_path, size, rate):
    report = written(files, decoding(size=size, rate=rate))
    whole = decoding(size=size, rate=rate, rgb=True)
    whole.run()
    saved = whole.clip().save(tmp_path / "saved.mp4")
    data = (tmp_path / "scratch" / "clip.mp4").read_bytes()
    assert data == (tmp_path / "saved.mp4").read_bytes()
    facts = (report.num_bytes, report.num_frames, report.num_samples)
    assert facts == (saved.num_bytes, saved.num_frames, saved.num_samples)
    assert (report.width, report.height, report.notice) == (size.width, size.height, "a notice")
    assert report.encoder == "libx264"
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["clip.mp4"]


def test_frames_are_encoded_while_later_ones_are_decoded(files, monkeypatch):
    encoding = threading.Event()

    def watched(path, pictures, *arguments):
        def told():
            for picture in pictures:
                encoding.set()
                yield picture

        write_mp4(path, told(), *arguments)

    def before(number):
        assert number == 0 or encoding.wait(PATIENCE), "the second window is decoded after the first is encoded"

    monkeypatch.setattr(files_module, "write_mp4", watched)
    assert written(files, decoding(Decoders(before))).num_frames == 40


def test_writing_goes_on_while_other_work_is_done(files, monkeypatch):
    go_on = threading.Event()

    def held_back(*arguments):
        assert go_on.wait(PATIENCE)
        write_mp4(*arguments)

    monkeypatch.setattr(files_module, "write_mp4", held_back)
    one = decoding()
    files.begin("b", 0, one)
    one.run()  # returns, although not a frame is encoded
    next_one, began = decoding(), threading.Event()

    def begin_next():
        files.begin("next", 0, next_one)
        began.set()

    with ThreadPoolExecutor(2) as threads:
        report = threads.submit(files.finish, "b", 0, "one.mp4")
        threads.submit(begin_next)
        assert not began.wait(0.2), "frames of one batch at most wait in memory"
        go_on.set()
        assert began.wait(PATIENCE)
        next_one.run()
        assert report.result(PATIENCE).num_frames == files.finish("next", 0, "two.mp4").num_frames == 40


def test_a_decode_that_fails_is_told_to_who_waits_for_the_file(files, tmp_path):
    def before(number):
        if number == 1:
            raise RuntimeError("the device is gone")

    one = decoding(Decoders(before))
    files.begin("b", 0, one)
    with pytest.raises(RuntimeError, match="the device is gone"):
        one.run()
    with pytest.raises(EngineFault, match="not decoded: the device is gone"):
        files.finish("b", 0, "clip.mp4")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_encoder_that_fails_is_told_to_who_waits_for_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files_module, "X264", BROKEN)
    files = ClipFiles(tmp_path, BROKEN)
    one = decoding()
    files.begin("b", 0, one)
    one.run()
    with pytest.raises(av.error.FFmpegError):
        files.finish("b", 0, "clip.mp4")
    assert list(tmp_path.iterdir()) == []
    files.close()


def test_x264_takes_over_from_an_encoder_that_fails(tmp_path):
    files = ClipFiles(tmp_path, BROKEN)
    for name in ("first.mp4", "second.mp4"):
        report = written(files, decoding(), name)
        assert (report.encoder, report.num_frames) == ("libx264", 40)
    with av.open(str(tmp_path / "first.mp4")) as container:
        assert container.streams.video[0].frames == 40
    files.close()


def test_a_batch_that_is_forgotten_leaves_no_file(files, tmp_path):
    for index in range(2):
        one = decoding()
        files.begin("b", index, one)
        one.run()
    abandoned = decoding()
    files.begin("b", 2, abandoned)  # and never decoded
    files.forget("b")
    assert list((tmp_path / "scratch").iterdir()) == []
    with pytest.raises(EngineFault, match="clip 1 of batch b is not decoded"):
        files.finish("b", 1, "clip.mp4")


def test_a_full_scratch_disk_is_told_and_leaves_no_file(files, tmp_path):
    with full_disk(100):
        files.begin("batch", 0, one := decoding())
        one.run()
        with pytest.raises(DiskFull, match="no room left"):
            files.finish("batch", 0, "clip.mp4")
    assert list((tmp_path / "scratch").iterdir()) == []
