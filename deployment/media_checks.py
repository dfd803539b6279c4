"""What pictures and videos must be like for each mode, and what a request takes over from them. Pure functions."""

from __future__ import annotations

from engine.source_video import VideoFacts
from hhray.errors import InvalidParameter
from hhray.geometry import Size, edited_length, nearest_ratio
from hhray.request import AudioSetting, ClipRequest, Mode

MIN_SIDE = 300
MIN_REFERENCE_SIDE = 400  # of the pictures of reference-to-video, which may have any shape
MAX_ASPECT = 2.5
MIN_VIDEO_SECONDS, MAX_VIDEO_SECONDS = 3, 60
MIN_VIDEO_SIDE, MAX_VIDEO_SIDE = 360, 4096
MIN_FRAMES_PER_SECOND = 8


def check_picture(size: Size, mode: Mode) -> None:
    """Refuse a picture that is too small or too long for its width.

    Raises:
        InvalidParameter: the sentence names size and limits.
    """
    least = MIN_REFERENCE_SIDE if mode is Mode.R2V else MIN_SIDE
    if min(size.width, size.height) < least:
        raise InvalidParameter(f"expected a picture of at least {least}x{least} pixels, but it is {size}.")
    if mode is not Mode.R2V:
        _check_aspect(size)


def check_video(facts: VideoFacts) -> None:
    """Refuse a source video that is too short, long, small, large or slow.

    Raises:
        InvalidParameter: the sentence names what it has and the limits.
    """
    sides = sorted((facts.size.width, facts.size.height))
    if not MIN_VIDEO_SECONDS <= _milliseconds(facts) / 1000 <= MAX_VIDEO_SECONDS:
        raise InvalidParameter(
            f"expected a video of {MIN_VIDEO_SECONDS} to {MAX_VIDEO_SECONDS} seconds, but it has {facts.seconds:.2f}."
        )
    if sides[0] < MIN_VIDEO_SIDE or sides[1] > MAX_VIDEO_SIDE:
        raise InvalidParameter(
            f"expected a video whose short side has at least {MIN_VIDEO_SIDE} and whose long side at most "
            f"{MAX_VIDEO_SIDE} pixels, but it is {facts.size}."
        )
    _check_aspect(facts.size)
    if not facts.frames_per_second > MIN_FRAMES_PER_SECOND:
        raise InvalidParameter(
            f"expected a video of more than {MIN_FRAMES_PER_SECOND} frames a second, "
            f"but it has {facts.frames_per_second:.2f}."
        )


def with_picture(request: ClipRequest, size: Size) -> ClipRequest:
    """The request, with the ratio of its first frame where it has one."""
    return request.model_copy(update={"ratio": nearest_ratio(size)}) if request.mode is Mode.I2V else request


def with_video(request: ClipRequest, facts: VideoFacts) -> ClipRequest:
    """The request, with ratio and length of the video it edits; of a longer one the first 15 seconds are used.

    Raises:
        InvalidParameter: the sound is to be kept, but there is none.
    """
    if request.audio_setting is AudioSetting.ORIGIN and not facts.has_sound:
        raise InvalidParameter(
            'parameters.audio_setting: expected "auto" for a video without a sound track, got "origin".'
        )
    duration, seconds = edited_length(facts.seconds)
    return request.model_copy(
        update={"ratio": nearest_ratio(facts.size), "source_seconds": seconds, "duration": duration}
    )


def _milliseconds(facts: VideoFacts) -> int:
    """The length, rounded: 3 seconds may come as 2.9999999 when they are the difference of two times."""
    return round(facts.seconds * 1000)


def _check_aspect(size: Size) -> None:
    if not 1 / MAX_ASPECT <= size.aspect <= MAX_ASPECT:
        raise InvalidParameter(f"expected an aspect ratio from 1:{MAX_ASPECT} to {MAX_ASPECT}:1, but it is {size}.")
