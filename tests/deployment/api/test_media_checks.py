"""What pictures and videos must be like, as pure functions: every bound from both sides."""

from __future__ import annotations

import pytest

from deployment.media_checks import check_picture, check_video, with_picture, with_video
from engine.source_video import VideoFacts
from hhray.errors import InvalidParameter
from hhray.geometry import Ratio, Size
from hhray.request import AudioSetting, ClipRequest, Mode


def facts(width=640, height=360, seconds=5.0, rate=24.0, sound=True):
    return VideoFacts(Size(width, height), seconds, rate, sound)


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        (Mode.I2V, Size(300, 300)),
        (Mode.I2V, Size(750, 300)),
        (Mode.VIDEO_EDIT, Size(300, 750)),
        (Mode.R2V, Size(400, 400)),
        (Mode.R2V, Size(4000, 400)),  # a reference of this mode may have any shape
    ],
)
def test_pictures_at_the_bounds_pass(mode, size):
    check_picture(size, mode)


@pytest.mark.parametrize(
    ("mode", "size", "part"),
    [
        (Mode.I2V, Size(299, 300), "at least 300x300 pixels, but it is 299x300"),
        (Mode.VIDEO_EDIT, Size(300, 299), "at least 300x300 pixels"),
        (Mode.VIDEO_EDIT, Size(300, 751), "aspect ratio from 1:2.5 to 2.5:1, but it is 300x751"),
        (Mode.R2V, Size(399, 4000), "at least 400x400 pixels, but it is 399x4000"),
    ],
)
def test_pictures_beyond_the_bounds_are_refused(mode, size, part):
    with pytest.raises(InvalidParameter) as caught:
        check_picture(size, mode)
    assert part in caught.value.message


@pytest.mark.parametrize(
    "fit",
    [
        facts(seconds=3.0),
        facts(seconds=2.9999999),  # the difference of two times
        facts(seconds=60.0),
        facts(360, 360),
        facts(4096, 1639),
        facts(360, 900),
        facts(rate=8.01),
        facts(sound=False),
    ],
)
def test_videos_at_the_bounds_pass(fit):
    check_video(fit)


@pytest.mark.parametrize(
    ("unfit", "part"),
    [
        (facts(seconds=2.99), "a video of 3 to 60 seconds, but it has 2.99"),
        (facts(seconds=60.01), "a video of 3 to 60 seconds, but it has 60.01"),
        (facts(640, 359), "short side has at least 360"),
        (facts(4097, 2160), "long side at most 4096 pixels, but it is 4097x2160"),
        (facts(361, 904), "aspect ratio from 1:2.5 to 2.5:1"),
        (facts(rate=8.0), "more than 8 frames a second, but it has 8.00"),
        (facts(rate=float("nan")), "more than 8 frames a second"),
    ],
)
def test_videos_beyond_the_bounds_are_refused(unfit, part):
    with pytest.raises(InvalidParameter) as caught:
        check_video(unfit)
    assert part in caught.value.message


def request(mode, **fields):
    return ClipRequest(model="m", mode=mode, prompt="p", **fields)


@pytest.mark.parametrize(
    ("seconds", "duration", "used"),
    [(3.0, 3, 3.0), (2.9999999, 3, 3.0), (6.62, 7, 6.62), (7.0000001, 7, 7.0), (15.0, 15, 15.0), (59.9, 15, 15.0)],
)
def test_a_request_takes_length_and_ratio_of_its_video_at_most_15_seconds(seconds, duration, used):
    done = with_video(request(Mode.VIDEO_EDIT), facts(360, 640, seconds))
    assert (done.duration, done.source_seconds, done.output_seconds) == (duration, used, used)
    assert done.ratio is Ratio.R9_16


def test_sound_that_is_not_there_cannot_be_kept():
    asked = request(Mode.VIDEO_EDIT, audio_setting=AudioSetting.ORIGIN)
    assert with_video(asked, facts()).audio_setting is AudioSetting.ORIGIN
    with pytest.raises(InvalidParameter, match=r"^parameters\.audio_setting: .* without a sound track"):
        with_video(asked, facts(sound=False))


def test_only_a_first_frame_gives_its_ratio():
    assert with_picture(request(Mode.I2V), Size(400, 400)).ratio is Ratio.R1_1
    assert with_picture(request(Mode.R2V, ratio=Ratio.R9_16), Size(400, 400)).ratio is Ratio.R9_16
