"""Bad input of a create: code, status, sentence, and nothing left behind."""

from __future__ import annotations

import base64
import json

import pytest

from deployment.store.base import TaskFilter

PATH = "/api/v1/services/aigc/video-generation/video-synthesis"
HEADERS = {"x-dashscope-async": "enable", "content-type": "application/json"}
T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "a horse"}}
I2V_MODEL = "happyhorse-1.0-i2v"
ID = "00000000-0000-4000-8000-000000000000"


def t2v(**parameters):
    return T2V | {"parameters": parameters}


def i2v(url, **fields):
    return {"model": I2V_MODEL, "input": {"media": [{"type": "first_frame", "url": url}]} | fields}


CASES = {
    "empty prompt": (T2V | {"input": {"prompt": ""}}, "InvalidParameter", "input.prompt"),
    "blank prompt": (T2V | {"input": {"prompt": " \n\t "}}, "InvalidParameter", "input.prompt"),
    "missing prompt": (T2V | {"input": {}}, "InvalidParameter", "Field required: input.prompt"),
    "null prompt": (T2V | {"input": {"prompt": None}}, "InvalidParameter", "Field required: input.prompt"),
    "prompt is a number": (T2V | {"input": {"prompt": 7}}, "InvalidParameter", "input.prompt: expected a string"),
    "prompt with NUL": (T2V | {"input": {"prompt": "a\x00b"}}, "InvalidParameter", "NUL"),
    "no model": ({"input": {"prompt": "x"}}, "BadRequest.EmptyModel", "happyhorse-1.0-t2v"),
    "no input": ({"model": "happyhorse-1.0-t2v"}, "BadRequest.EmptyInput", "input"),
    "input is a list": (T2V | {"input": []}, "BadRequest.IllegalInput", "json format"),
    "parameters is a string": (T2V | {"parameters": "x"}, "InvalidParameter", "parameters: expected an object"),
    "unknown model": (T2V | {"model": "wan-9"}, "InvalidParameter", "Model not exist. Expected one of happyhorse"),
    "model is a number": (T2V | {"model": 3}, "InvalidParameter", "model: expected a string"),
    "video edit 1.1 never was": (T2V | {"model": "happyhorse-1.1-video-edit"}, "InvalidParameter", "Model not exist."),
    "unknown ratio": (t2v(ratio="17:9"), "InvalidParameter", "parameters.ratio: expected one of 16:9, 9:16"),
    "ratio is a list": (t2v(ratio=["16:9"]), "InvalidParameter", "parameters.ratio"),
    "duration 2": (t2v(duration=2), "InvalidParameter", "parameters.duration: expected an integer from 3 to 15, got 2"),
    "duration 16": (t2v(duration=16), "InvalidParameter", "from 3 to 15, got 16"),
    "duration as text": (t2v(duration="5"), "InvalidParameter", 'from 3 to 15, got "5"'),
    "duration 5.5": (t2v(duration=5.5), "InvalidParameter", "from 3 to 15, got 5.5"),
    "duration 5.0": (t2v(duration=5.0), "InvalidParameter", "from 3 to 15"),
    "duration true": (t2v(duration=True), "InvalidParameter", "from 3 to 15, got true"),
    "seed -1": (t2v(seed=-1), "InvalidParameter", "parameters.seed: expected an integer from 0 to 2147483647, got -1"),
    "seed 2**31": (t2v(seed=2**31), "InvalidParameter", "parameters.seed"),
    "seed true": (t2v(seed=True), "InvalidParameter", "parameters.seed"),
    "watermark 1": (t2v(watermark=1), "InvalidParameter", "parameters.watermark: expected true or false"),
    "lower-case resolution": (
        t2v(resolution="720p"),
        "InvalidParameter",
        "parameters.resolution: expected one of 256P",
    ),
    "480P with 1.0": (t2v(resolution="480P"), "InvalidParameter", "happyhorse-1.0-t2v"),
    "no picture": (
        {"model": I2V_MODEL, "input": {"prompt": "x"}},
        "InvalidParameter",
        "exactly 1 first_frame",
    ),
    "two pictures": (
        {"model": I2V_MODEL, "input": {"media": [{"type": "first_frame", "url": "https://a.example/1.png"}] * 2}},
        "InvalidParameter",
        "exactly 1 first_frame",
    ),
    "another media type": (
        {"model": I2V_MODEL, "input": {"media": [{"type": "last_frame", "url": "https://a.example/1.png"}]}},
        "InvalidParameter",
        "input.media[0].type",
    ),
    **{
        f"{token} of one picture": (
            {
                "model": "happyhorse-1.1-r2v",
                "input": {
                    "prompt": f"{token} waves",
                    "media": [{"type": "reference_image", "url": "https://a.example/1.png"}],
                },
            },
            "InvalidParameter",
            "names no picture; expected a number from 1 to 1",
        )
        for token in ("[Image 2]", "[Image2]", "[ image 02 ]", "character2", "[Image 0]")
    },
    "media without url": (i2v(None), "InvalidParameter", "input.media[0].url"),
    "url is an object": (i2v({}), "InvalidParameter", "input.media[0].url"),
    "ftp url": (i2v("ftp://a.example/1.png"), "InvalidURL", "http:// or https://"),
    "relative url": (i2v("/etc/passwd"), "InvalidURL", "http:// or https://"),
    "file url": (i2v("file:///etc/passwd"), "InvalidURL", "client's to upload"),
    "oss url of others": (i2v("oss://dashscope/x.png"), "InvalidURL", "uploaded to this server"),
    "oss url that climbs": (i2v(f"oss://uploads/{ID}/../x"), "InvalidURL", "uploaded to this server"),
    "oss url without the header": (i2v(f"oss://uploads/{ID}/x.png"), "InvalidURL", "X-DashScope-OssResourceResolve"),
    "url with credentials": (i2v("https://u:p@a.example/1.png"), "InvalidURL", "without user name"),
    "url without host": (i2v("https:///1.png"), "InvalidURL", "host"),
    "url with port 0": (i2v("https://a.example:0/1.png"), "InvalidURL", "port"),
    "url with port 99999": (i2v("https://a.example:99999/1.png"), "InvalidURL", "https://host/path"),
    "long url": (i2v("https://a.example/" + "x" * 2048), "InvalidURL", "2048"),
    "url with a line break": (i2v("https://a.example/\r\nHost: b"), "InvalidURL", "printable"),
    "url with a lone surrogate": (i2v("https://a.example/\ud800"), "InvalidURL", "printable"),
    "loopback": (i2v("http://127.0.0.1/1.png"), "InvalidURL", "public address"),
    "loopback as one number": (i2v("http://2130706433/1.png"), "InvalidURL", "public address"),
    "loopback in hexadecimal": (i2v("http://0x7f.1/1.png"), "InvalidURL", "public address"),
    "localhost": (i2v("http://LocalHost./1.png"), "InvalidURL", "public address"),
    "metadata service": (i2v("http://169.254.169.254/latest"), "InvalidURL", "public address"),
    "mapped loopback": (i2v("http://[::ffff:127.0.0.1]/"), "InvalidURL", "public address"),
    "NAT64": (i2v("http://[64:ff9b::7f00:1]/"), "InvalidURL", "public address"),
    "old img_url": ({"model": I2V_MODEL, "input": {"img_url": "http://10.0.0.1/"}}, "InvalidURL", "input.img_url"),
    "bmp data": (i2v("data:image/bmp;base64,Qk0="), "BadRequest.UnsupportedFileFormat", "image/png"),
    "data that is not an image": (i2v("data:text/html;base64,AAAA"), "BadRequest.UnsupportedFileFormat", "image/png"),
    "data that is not base64": (i2v("data:image/png;base64,@@@@"), "InvalidParameter", "valid base64"),
    "data with other letters": (i2v("data:image/png;base64,\u0660\u0661"), "InvalidParameter", "valid base64"),
    "no data": (i2v("data:image/png;base64,"), "InvalidParameter", "empty"),
}


def num_tasks(live):
    return live.store.list_tasks(TaskFilter(tenant="local"))[1]


@pytest.mark.parametrize("name", CASES)
def test_a_bad_create_is_refused_with_a_sentence_and_leaves_no_task(refusing, name):
    body, code, part = CASES[name]
    content = json.dumps(body).encode("ascii")
    answer = refusing.client.post(PATH, content=content, headers=HEADERS)
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "message", "request_id"}
    assert answer.json()["code"] == code
    assert part in answer.json()["message"]
    assert num_tasks(refusing) == 0
    assert not list(refusing.services.settings.artifact_dir.rglob("*"))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe{}", b"[" * 100_000, b'{"model": ' + b"9" * 5000 + b"}"],
    ids=["empty", "open", "array", "text", "null", "not utf-8", "deep", "long number"],
)
def test_a_body_that_is_no_json_object_is_illegal_input(refusing, body):
    answer = refusing.client.post(PATH, content=body, headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (400, "BadRequest.IllegalInput")
    assert "JSON object" in answer.json()["message"]


def test_a_lone_surrogate_in_the_prompt_is_refused(refusing):
    body = b'{"model": "happyhorse-1.0-t2v", "input": {"prompt": "a \\ud800 horse"}}'
    answer = refusing.client.post(PATH, content=body, headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert "surrogate" in answer.json()["message"]


@pytest.mark.parametrize("value", [None, "disable", ""])
def test_a_call_without_the_async_header_is_denied(refusing, value):
    headers = {} if value is None else {"x-dashscope-async": value}
    answer = refusing.client.post(PATH, json=T2V, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
    assert "current user api does not support synchronous calls." in answer.json()["message"]
    assert "X-DashScope-Async: enable" in answer.json()["message"]
    assert num_tasks(refusing) == 0


def test_a_body_over_two_megabytes_is_refused_unless_the_excess_is_a_picture(live, picture):
    answer = live.create(T2V | {"extra": "x" * 2_000_000})
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert "request body too large: expected at most 2000000 bytes" in answer.json()["message"]
    # bytes after the picture's end do not matter to a PNG reader
    data = picture() + bytes(3_000_000)
    task_id = live.create_id(i2v("data:image/png;base64," + base64.b64encode(data).decode()))
    assert live.get(task_id)["output"]["task_status"] == "PENDING"


@pytest.mark.parametrize("num_bytes", [31_000_000, 68_000_000])
def test_a_body_beyond_any_limit_gets_its_answer(refusing, num_bytes):
    answer = refusing.client.post(PATH, content=b"x" * num_bytes, headers=HEADERS)
    assert answer.status_code == 400
    assert "request body too large" in answer.json()["message"]


def test_a_picture_over_the_limit_is_too_large(serve_with):
    with serve_with(media={"max_bytes": 1000}) as live:
        answer = live.create(i2v("data:image/png;base64," + "A" * 2000))
        assert (answer.status_code, answer.json()["code"]) == (400, "BadRequest.TooLarge")
        assert "at most 1000 bytes" in answer.json()["message"]
        assert num_tasks(live) == 0


@pytest.mark.parametrize("key", ["", "x" * 129, "a b", "caf\u00e9"])
def test_a_malformed_idempotency_key_is_refused(refusing, key):
    headers = {"x-dashscope-async": "enable", "idempotency-key": key.encode("latin-1")}
    answer = refusing.client.post(PATH, json=T2V, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert "1 to 128 printable ASCII" in answer.json()["message"]


def test_a_full_backlog_answers_429_with_retry_after(serve_with):
    with serve_with(store={"max_queued": 2}) as live:
        for _ in range(2):
            live.create_id(T2V)
        answer = live.create(T2V)
        assert (answer.status_code, answer.json()["code"]) == (429, "Throttling.AllocationQuota")
        assert int(answer.headers["retry-after"]) >= 1
        assert num_tasks(live) == 2
