"""Which H.264 encoder is taken."""

from __future__ import annotations

import pytest
from av.codec import codecs_available

from engine.video_encoder import NVENC, X264, VideoEncoder, choose, encoder_for, opens


@pytest.mark.parametrize(
    ("available", "works", "taken"),
    [
        ({"libx264"}, True, X264),
        ({"libx264", "h264_nvenc"}, True, NVENC),
        ({"libx264", "h264_nvenc", "h264_qsv"}, False, X264),
        (set(), True, X264),
    ],
)
def test_the_gpus_encoder_is_taken_where_it_is_built_in_and_works(available, works, taken):
    asked = []

    def probe(encoder):
        asked.append(encoder)
        return works

    assert choose(available, probe) is taken
    assert asked == ([NVENC] if "h264_nvenc" in available else [])


def test_what_is_taken_opens_on_this_machine():
    assert opens(X264)
    assert not opens(VideoEncoder("libx264", {"preset": "no such preset"}))
    assert opens(choose(codecs_available, opens))


def test_a_rank_on_a_cpu_looks_for_no_gpu(monkeypatch):
    monkeypatch.setattr("engine.video_encoder.opens", lambda encoder: pytest.fail("probed"))
    assert encoder_for("cpu") is X264
