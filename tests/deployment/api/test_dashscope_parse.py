"""The dialect's inward half as pure functions."""

from __future__ import annotations

import json

import pytest

from deployment.dialects.dashscope import parse_create, parse_list
from hhray.errors import InvalidParameter
from hhray.geometry import Ratio, Resolution
from hhray.request import Mode
from hhray.store_settings import MediaSettings
from hhray.tasks import TaskState


def parse(model="happyhorse-1.0-t2v", parameters=None, settings=None, **given):
    body = {"model": model, "input": given}
    if parameters is not None:
        body["parameters"] = parameters
    return parse_create(json.dumps(body).encode(), settings or MediaSettings())


def test_defaults_are_the_hosted_apis():
    request = parse(prompt="a horse").request
    assert (request.model, request.mode, request.prompt) == ("happyhorse-1.0-t2v", Mode.T2V, "a horse")
    assert (request.resolution, request.ratio, request.duration) == (Resolution.P1080, Ratio.R16_9, 5)
    assert request.watermark is True
    assert request.media == ()


def test_nulls_count_as_absent():
    names = ("resolution", "ratio", "duration", "seed", "watermark")
    request = parse(prompt="x", parameters=dict.fromkeys(names)).request
    assert (request.resolution, request.ratio, request.duration) == (Resolution.P1080, Ratio.R16_9, 5)


def test_given_parameters_arrive():
    parameters = {"resolution": "480P", "ratio": "9:21", "duration": 15, "seed": 0, "watermark": False, "foo": [1]}
    request = parse("happyhorse-1.1-t2v", parameters, prompt="x", extend_prompt=True, function="f").request
    assert (request.resolution, request.ratio) == (Resolution.P480, Ratio.R9_21)
    assert (request.duration, request.seed, request.watermark) == (15, 0, False)


@pytest.mark.parametrize("model", ["happyhorse-1.0-t2v", "happyhorse-1.1-t2v"])
def test_the_preview_tier_is_offered_by_every_model(model):
    assert parse(model, {"resolution": "256P"}, prompt="x").request.resolution is Resolution.P256


def test_absent_seeds_are_drawn_anew():
    seeds = {parse(prompt="x").request.seed for _ in range(20)}
    assert len(seeds) > 10
    assert all(0 <= seed <= 2**31 - 1 for seed in seeds)


@pytest.mark.parametrize(
    ("prompt", "kept"),
    [
        ("a" * 6000, 5000),
        ("马" * 3000, 2500),
        ("马" * 2000 + "a" * 2000, 3000),
        ("a" + "马" * 2500, 2500),
        ("𠀀" * 3000, 2500),
        ("か" * 5000, 5000),
        ("a" * 5000, 5000),
    ],
)
def test_long_prompts_are_cut_silently_at_5000_with_ideographs_counting_twice(prompt, kept):
    assert parse(prompt=prompt).request.prompt == prompt[:kept]


def test_media_of_text_to_video_is_ignored():
    request = parse(prompt="x", media=[{"type": "first_frame", "url": "http://127.0.0.1/"}]).request
    assert request.media == ()


def test_image_to_video_needs_no_prompt_and_ignores_ratio():
    media = [{"type": "first_frame", "url": "https://pictures.example/1.png"}]
    request = parse("happyhorse-1.0-i2v", {"ratio": "nonsense"}, prompt=None, media=media).request
    assert (request.mode, request.prompt, request.ratio) == (Mode.I2V, "", Ratio.R16_9)
    assert request.media[0].url == "https://pictures.example/1.png"


@pytest.mark.parametrize("name", ["img_url", "first_frame_url"])
def test_older_fields_name_the_first_frame(name):
    request = parse("happyhorse-1.0-i2v", **{name: "https://pictures.example/1.png"}).request
    assert (request.media[0].type, request.media[0].url) == ("first_frame", "https://pictures.example/1.png")


def test_the_bytes_of_a_data_uri_come_out_and_the_text_is_not_kept():
    media = [{"type": "first_frame", "url": "data:image/PNG;base64,AQID"}]
    call = parse("happyhorse-1.0-i2v", media=media)
    assert call.files == (b"\x01\x02\x03",)
    assert call.request.media[0].url == ""


def test_a_listed_private_address_is_accepted_with_exactly_its_port():
    settings = MediaSettings(allowed_private=("127.0.0.1:9000", "[::1]:9000", "files:80"))
    for url in ("http://127.0.0.1:9000/a.png", "http://[::1]:9000/", "http://FILES/a.png"):
        media = [{"type": "first_frame", "url": url}]
        assert parse("happyhorse-1.0-i2v", settings=settings, media=media).request.media[0].url == url


NOW = 1776678917.0


def test_list_filters_default_to_the_first_ten():
    query = parse_list({}, "acme", NOW)
    assert (query.tenant, query.page, query.page_size) == ("acme", 1, 10)
    assert (query.state, query.end, query.model, query.task_id) == (None,) * 4


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ({}, NOW - 86400, None),
        ({"task_id": "a", "api_key_id": "7", "region": "cn-beijing"}, None, None),
        ({"start_time": "20260420175517"}, NOW, NOW + 86400.999),
        ({"end_time": "20260420175517"}, NOW - 86400, NOW + 0.999),
        ({"start_time": "20260419175517", "end_time": "20260420175517"}, NOW - 86400, NOW + 0.999),
    ],
)
def test_a_list_is_of_24_hours_at_most_the_last_ones_if_nothing_is_said(query, start, end):
    found = parse_list(query, "acme", NOW)
    assert (found.start, found.end) == (start, end if end is None else pytest.approx(end))


def test_list_times_are_utc_plus_8_and_include_their_second():
    times = {"start_time": "20260420175517", "end_time": "20260420175517"}
    query = parse_list({**times, "status": "RUNNING"}, "acme", NOW)
    assert query.start == 1776678917.0
    assert query.end == pytest.approx(1776678917.999)
    assert query.state is TaskState.RUNNING


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ({"page_no": "0"}, "page_no: expected an integer from 1"),
        ({"page_no": "-1"}, "page_no"),
        ({"page_no": "٣"}, "page_no"),
        ({"page_no": "9" * 5000}, "page_no"),
        ({"page_size": "101"}, "page_size: expected an integer from 1 to 100"),
        ({"page_size": "ten"}, "page_size"),
        ({"status": "DONE"}, "status: expected one of PENDING"),
        ({"start_time": "2026-04-20"}, "start_time: expected a time as YYYYMMDDhhmmss"),
        ({"end_time": "20261340000000"}, "end_time: expected a time"),
        (
            {"start_time": "20260419175516", "end_time": "20260420175517"},
            "end_time: expected a time from start_time to",
        ),
        (
            {"start_time": "20260420175517", "end_time": "20260420175516"},
            "end_time: expected a time from start_time to",
        ),
    ],
)
def test_malformed_list_filters_are_refused(query, part):
    with pytest.raises(InvalidParameter) as caught:
        parse_list(query, "acme", NOW)
    assert part in caught.value.message
    assert len(caught.value.message) < 300
