"""Requests travel as JSON between processes and must come back equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hhray.geometry import DURATIONS, Ratio, Resolution
from hhray.request import MAX_SEED, AudioSetting, ClipRequest, Language, Media, MediaType, Mode, ShapeKey
from hhray.tasks import SERVICE_STAGES, TERMINAL, Stage, TaskState

SHAPES = st.builds(
    ShapeKey, st.sampled_from(Mode), st.sampled_from(Resolution), st.sampled_from(Ratio), st.sampled_from(DURATIONS)
)


@given(SHAPES)
def test_a_shape_key_comes_back_from_its_text(key):
    assert ShapeKey.parse(str(key)) == key
    assert key.geometry.duration == key.duration


@given(
    st.builds(
        ClipRequest,
        model=st.text(max_size=20),
        mode=st.sampled_from(Mode),
        prompt=st.text(max_size=50),
        resolution=st.sampled_from(Resolution),
        ratio=st.sampled_from(Ratio),
        duration=st.sampled_from(DURATIONS),
        seed=st.integers(0, MAX_SEED),
        watermark=st.booleans(),
        media=st.lists(st.builds(Media, type=st.sampled_from(MediaType), url=st.text(max_size=9)), max_size=3),
        language=st.none() | st.sampled_from(Language),
        dialogue=st.text(max_size=9),
        audio_setting=st.sampled_from(AudioSetting),
        strict_capabilities=st.booleans(),
        source_seconds=st.floats(0, 15),
    )
)
def test_a_request_comes_back_from_json(request_):
    back = ClipRequest.model_validate_json(request_.model_dump_json())
    assert back == request_
    assert back.shape_key == request_.shape_key
    assert back.geometry == request_.geometry


@pytest.mark.parametrize("bad", [{"duration": 2}, {"duration": 16}, {"seed": -1}, {"seed": MAX_SEED + 1}])
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        ClipRequest(model="m", mode=Mode.T2V, prompt="p", **bad)


@pytest.mark.parametrize(
    ("mode", "source", "expected"),
    [(Mode.VIDEO_EDIT, 6.62, 6.62), (Mode.VIDEO_EDIT, 0.0, 7.0), (Mode.VIDEO_EDIT, 7.5, 7.0), (Mode.R2V, 6.62, 7.0)],
)
def test_an_edit_lasts_as_long_as_its_video_and_no_longer_than_asked(mode, source, expected):
    request = ClipRequest(model="m", mode=mode, prompt="p", duration=7, source_seconds=source)
    assert request.output_seconds == expected


def test_a_request_cannot_be_changed():
    request = ClipRequest(model="m", mode=Mode.T2V, prompt="p")
    with pytest.raises(ValidationError, match="frozen"):
        request.prompt = "q"


def test_terminal_states_are_the_three_stored_ends():
    assert {state for state in TaskState if state.is_terminal} == TERMINAL
    assert {state.value for state in TERMINAL} == {"SUCCEEDED", "FAILED", "CANCELED"}


def test_the_service_stages_are_all_but_the_queue_wait():
    assert [stage.value for stage in SERVICE_STAGES] == ["text", "denoise", "decode", "mux", "publish"]
    assert Stage.QUEUE_WAIT not in SERVICE_STAGES
