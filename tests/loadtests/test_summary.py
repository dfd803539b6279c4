"""The report's arithmetic, with numbers small enough to check by head."""

from __future__ import annotations

import json

import pytest

from loadtests.run import is_loopback, main
from loadtests.summary import Recorder, percentile


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([3.0], 99, 3.0), ([4.0, 1.0, 3.0, 2.0], 50, 2.0), ([4.0, 1.0, 3.0, 2.0], 75, 3.0),
     (list(range(1, 101)), 95, 95), (list(range(1, 101)), 99, 99), ([1.0, 2.0], 99, 2.0)],
)  # fmt: skip
def test_percentiles_are_values_that_occurred(values, percent, expected):
    assert percentile(values, percent) == expected


def test_every_acknowledged_task_is_counted_once():
    recorder = Recorder(began_at=100.0)
    for number in range(6):
        recorder.acknowledged(f"t-{number}")
    recorder.delivered("t-0", 2.0)
    recorder.delivered("t-1", 4.0)
    recorder.delivered("t-2", 6.0)
    recorder.failed("t-3", "task FAILED InternalError")
    recorder.error("poll: HTTP 503")
    recorder.error("poll: HTTP 503")
    summary = recorder.summary(now=136.0)
    assert (summary.num_clips, summary.num_failed, summary.num_unfinished) == (3, 1, 2)
    assert (summary.elapsed_seconds, summary.clips_per_hour) == (36.0, 300.0)
    assert (summary.p50_seconds, summary.p95_seconds, summary.p99_seconds) == (4.0, 6.0, 6.0)
    assert summary.errors == {"task FAILED InternalError": 1, "poll: HTTP 503": 2}
    assert not summary.is_good
    assert json.loads(json.dumps(summary.as_json()))["num_unfinished"] == 2


def test_the_report_hides_nothing():
    recorder = Recorder(began_at=0.0)
    recorder.acknowledged("t-1")
    recorder.acknowledged("t-2")
    recorder.delivered("t-1", 2.5)
    recorder.error("create: HTTP 429")
    text = "\n".join(recorder.summary(now=10.0).lines())
    assert "1 in 10.0 s = 360.0 clips/h" in text
    assert "p50 2.50  p95 2.50  p99 2.50" in text
    assert "1 x create: HTTP 429" in text
    assert "unfinished      1" in text


def test_a_run_without_a_clip_is_not_good_and_has_no_percentiles():
    summary = Recorder(began_at=5.0).summary(now=5.0)
    assert (summary.is_good, summary.p50_seconds, summary.clips_per_hour) == (False, None, 0.0)
    assert "p50 -" in "\n".join(summary.lines())


def test_a_run_with_clips_and_no_errors_is_good_even_with_unfinished_ones():
    recorder = Recorder(began_at=0.0)
    recorder.acknowledged("t-1")
    recorder.acknowledged("t-2")
    recorder.delivered("t-1", 1.0)
    assert recorder.summary(now=2.0).is_good


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", True), ("http://localhost", True), ("http://[::1]:8000", True),
        ("http://127.9.9.9", True), ("http://10.0.0.1", False), ("https://video.example.com", False),
        ("http://localhost.example.com", False), ("http://127.0.0.1@example.com", False),
        ("127.0.0.1:8000", False), ("http://[", False),
    ],
)  # fmt: skip
def test_only_loopback_addresses_are_this_machine(url, expected):
    assert is_loopback(url) is expected


def test_a_remote_host_is_refused_before_anything_is_sent(capsys):
    assert main(["--host", "http://192.0.2.1:8000", "--seconds", "1"]) == 2
    assert "--allow-remote" in capsys.readouterr().err
