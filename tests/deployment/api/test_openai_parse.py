"""The OpenAI dialect's fields: forms, JSON, aliases, sizes, media; and its errors. No server."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployment.call_identity import fingerprint
from deployment.dialects.openai_errors import is_openai, render_error
from deployment.dialects.openai_fields import MAX_FIELDS, Upload, nested, plain
from deployment.dialects.openai_parse import json_fields, parse_create
from deployment.dialects.openai_render import poll_after_ms
from hhray.errors import HhrayError, InvalidParameter, MediaError, RequestError
from hhray.geometry import PIXELS, Ratio, Resolution
from hhray.request import Mode
from hhray.store_settings import MediaSettings
from hhray.tasks import TaskState

PICTURE = "https://pictures.example/1.png"
VIDEO = "https://videos.example/1.mp4"


def parsed(fields=None, tiers=tuple(Resolution), **more):
    return parse_create({"prompt": "a horse", **(fields or {}), **more}, tiers, MediaSettings())


def upload(data=b"bytes"):
    return Upload(io.BytesIO(data), len(data))


def refusal(*args, **options):
    with pytest.raises(RequestError) as refused:
        parsed(*args, **options)
    error = refused.value
    return render_error(error.status, error.code, error.message)["error"]


def test_a_prompt_alone_is_text_to_video_with_the_shared_defaults():
    call = parsed()
    request = call.request
    assert (request.model, request.mode, request.resolution) == ("happyhorse-1.1-t2v", Mode.T2V, "1080P")
    assert (request.ratio, request.duration, request.watermark, call.files) == ("16:9", 5, True, ())


def test_without_a_size_it_is_the_highest_tier_on_offer():
    assert parsed(tiers=(Resolution.P256, Resolution.P720)).request.resolution == "720P"


@pytest.mark.parametrize("ratio", list(Ratio))
def test_every_size_of_the_menu_means_its_tier_and_ratio(ratio):
    for resolution, size in zip(Resolution, PIXELS[ratio], strict=True):
        request = parsed(size=str(size)).request
        assert (request.resolution, request.ratio, request.geometry.output) == (resolution, ratio, size)


def test_sizes_are_also_tiers_and_width_with_height():
    assert parsed(size="720p", ratio="9:16").request.shape_key[1:3] == ("720P", "9:16")
    assert parsed(size="1280*720").request.shape_key[1:3] == ("720P", "16:9")
    assert parsed(width="720", height="1280").request.shape_key[1:3] == ("720P", "9:16")
    assert parsed(resolution="720p", aspect_ratio="1:1").request.shape_key[1:3] == ("720P", "1:1")


def test_a_size_off_the_menu_is_refused_with_the_menu():
    for size in ("1024x1792", "720", "x", 7, "1280x720x1", "9" * 400):
        error = refusal(size=size)
        assert (error["param"], error["code"]) == ("size", "invalid_value")
        assert "448x256" in error["message"]
        assert "2192x944" in error["message"]
    assert "but the request also says 1:1" in refusal(size="1280x720", ratio="1:1")["message"]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [({"seconds": "7"}, 7), ({"seconds": 7}, 7), ({"duration": "7"}, 7), ({"num_frames": "81", "fps": "16"}, 5)],
)
def test_seconds_in_every_spelling(given, seconds):
    assert parsed(given).request.duration == seconds


@pytest.mark.parametrize("seconds", ["2", 16, "5.5", True, "five", -4, "", [5]])
def test_seconds_out_of_range_are_refused(seconds):
    assert refusal(seconds=seconds)["param"] == "seconds"


def test_frames_that_are_no_numbers_are_refused():
    assert refusal(num_frames="many")["param"] == "num_frames"
    assert refusal(num_frames="81", fps="0")["param"] == "fps"


def test_what_comes_along_decides_the_mode_when_no_model_is_named():
    assert parsed(input_reference=upload()).request.model == "happyhorse-1.1-i2v"
    assert parsed(input_reference={"image_url": PICTURE}).request.media[0].url == PICTURE
    assert parsed(reference_url=PICTURE).request.mode is Mode.I2V
    two = parsed(prompt="[Image 2]", input_reference=[upload(), PICTURE])
    assert (two.request.mode, [item.type for item in two.request.media]) == (Mode.R2V, ["reference_image"] * 2)
    assert [data is not None for data in two.files] == [True, False]
    edit = parsed(video=upload(), input_reference=upload())
    assert (edit.request.model, len(edit.files)) == ("happyhorse-1.0-video-edit", 2)
    assert parsed(video_url=VIDEO, model="happyhorse").request.mode is Mode.VIDEO_EDIT
    assert parsed(model="happyhorse-1.0").request.model == "happyhorse-1.0-t2v"


def test_a_data_uri_comes_with_the_request():
    call = parsed(input_reference={"image_url": "data:image/png;base64,iVBORw0="})
    assert call.files == (b"\x89PNG\r\n"[:5],)


def test_what_came_along_must_fit_the_model_that_is_named():
    assert "takes no picture" in refusal(model="happyhorse-1.0-t2v", input_reference=upload())["message"]
    error = refusal(model="happyhorse-1.0-i2v")
    assert error["message"].startswith("Field required: input_reference. Expected exactly 1 first_frame")
    assert error["param"] == "input_reference"
    assert "exactly 1 first_frame" in refusal(model="happyhorse-1.0-i2v", input_reference=[PICTURE] * 2)["message"]
    assert refusal(model="happyhorse-1.0-i2v", video=upload())["param"] == "input_reference"


def test_files_too_large_empty_or_by_id_are_refused():
    big = Upload(io.BytesIO(b""), 20_000_001)
    with pytest.raises(MediaError, match="input_reference: expected a file of at most 20000000 bytes"):
        parsed(input_reference=big)
    assert refusal(input_reference=big)["code"] == "too_large"
    assert "it is empty" in refusal(input_reference=upload(b""))["message"]
    assert "keeps no files by id" in refusal(input_reference={"file_id": "file-1"})["message"]
    assert refusal(input_reference="ftp://x/y.png")["code"] == "invalid_url"
    assert refusal(input_reference="http://127.0.0.1/y.png")["param"] == "input_reference"


def test_wrapped_fields_count_where_the_body_does_not_name_them():
    call = parsed(
        seed="8",
        metadata={"ratio": "9:16", "seed": 7, "watermark": "false", "parameters": {"resolution": "720P"}},
        extra_body='{"seconds": 4, "seed": 6}',
        guidance_scale="5.0",
        num_inference_steps="50",
    )
    request = call.request
    assert (request.ratio, request.seed, request.watermark) == ("9:16", 8, False)
    assert (request.resolution, request.duration) == ("720P", 4)
    assert "metadata: expected an object" in refusal(metadata="[1]")["message"]
    assert "extra_body: expected an object" in refusal(extra_body="{")["message"]


def test_parameters_of_the_other_dialect_work_here_too():
    call = parsed(deterministic="true", language="german", dialogue="12", deadline_seconds="60")
    assert (call.request.deterministic, call.request.language, call.request.dialogue) == (True, "German", "12")
    assert call.deadline_seconds == 60.0
    assert refusal(watermark="maybe")["param"] == "watermark"
    assert refusal(prompt=None)["message"].startswith("Field required: prompt.")


def test_forms_are_unfolded_as_the_package_folds_them():
    file = upload()
    pairs = [
        ("prompt", "a horse"),
        ("metadata[ratio]", "9:16"),
        ("metadata[input][media][][type]", "reference_image"),
        ("metadata[input][media][][type]", "reference_image"),
        ("metadata[input][media][][url]", "https://a"),
        ("metadata[input][media][][url]", "https://b"),
        ("input_reference[]", file),
        ("input_reference[]", "https://c"),
        ("image", "1"),
        ("image", "2"),
        ("image", "3"),
    ]
    media = [{"type": "reference_image", "url": f"https://{name}"} for name in "ab"]
    assert nested(pairs) == {
        "prompt": "a horse",
        "metadata": {"ratio": "9:16", "input": {"media": media}},
        "input_reference": [file, "https://c"],
        "image": ["1", "2", "3"],
    }


@pytest.mark.parametrize(
    "pairs",
    [
        [("a[", "1")],
        [("", "1")],
        [("a[b][c][d][e][f]", "1")],
        [("a", "1"), ("a[b]", "2")],
        [("a[b]", "1"), ("a", "2")],
        [(f"a{number}", "1") for number in range(MAX_FIELDS + 1)],
    ],
)
def test_forms_that_mean_nothing_are_refused(pairs):
    with pytest.raises(InvalidParameter, match="form: "):
        nested(pairs)


names = st.text(alphabet="ab[]019.", max_size=12)


@settings(max_examples=40)
@given(st.lists(st.tuples(names, st.text(max_size=5)), max_size=12))
def test_any_form_is_an_object_or_a_refusal(pairs):
    try:
        parse_create(nested(pairs), list(Resolution), MediaSettings())
    except RequestError as error:
        assert error.message  # noqa: PT017 - either outcome is right, but only these


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELD_NAMES = (
    *("prompt", "model", "seconds", "size", "seed", "input_reference", "video", "media", "metadata", "extra_body"),
    *("fps", "num_frames", "width", "height", "watermark", "ratio", "image_urls", "input", "parameters", "language"),
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(FIELD_NAMES), json_values, max_size=6))
def test_any_json_object_is_a_call_or_a_refusal(fields):
    try:
        parsed(fields)
    except RequestError as error:
        assert render_error(error.status, error.code, error.message)["error"]["message"]  # noqa: PT017 - as above


def test_bodies_that_are_no_object_are_refused():
    for body in (b"", b"[1]", b"{", b"\xff", b"[" * 5000):
        with pytest.raises(RequestError, match="body: expected a JSON object"):
            json_fields(body)


def test_text_is_never_taken_for_a_number():
    assert [plain(name, "12") for name in ("prompt", "seed", "dialogue")] == ["12", 12, "12"]
    assert plain("watermark", "False") is False


def test_a_fingerprint_is_of_fields_in_any_order_and_of_the_files_bytes():
    one = parsed(seed="7", input_reference=upload(b"x"))
    same = parsed({"input_reference": upload(b"x"), "seed": 7})
    other = parsed(seed="7", input_reference=upload(b"y"))
    one, same, other = (replace(call, uploads=(None,)) for call in (one, same, other))
    assert fingerprint(one) == fingerprint(same)
    assert fingerprint(one) != fingerprint(other)
    assert one.files[0].read() == b"x"  # still to be stored


def test_codes_and_types_of_errors():
    cases = {
        ("InvalidApiKey", 401): ("authentication_error", "invalid_api_key"),
        ("AccessDenied", 403): ("permission_error", "access_denied"),
        ("Throttling.AllocationQuota", 429): ("rate_limit_error", "rate_limit_exceeded"),
        ("ModelUnavailable", 503): ("server_error", "service_unavailable"),
        (HhrayError.code, 500): ("server_error", "server_error"),
        ("BadRequest.UnsupportedFileFormat", 400): ("invalid_request_error", "unsupported_file_format"),
        ("MethodNotAllowed", 405): ("invalid_request_error", "method_not_allowed"),
    }
    for (code, status), (kind, ours) in cases.items():
        error = render_error(status, code, "Sentence.")["error"]
        assert (error["type"], error["code"], error["param"]) == (kind, ours, None)
    assert is_openai("/v1/videos")
    assert not is_openai("/api/v1/tasks")


def test_clients_look_eight_times_until_the_estimate():
    assert [poll_after_ms(TaskState.RUNNING, seconds) for seconds in (0.0, 40.0, 1e6)] == [250, 5000, 15000]
    assert poll_after_ms(TaskState.PENDING, None) == 2000
    assert poll_after_ms(TaskState.SUCCEEDED, 4.0) is None
