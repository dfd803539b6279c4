"""The client against a real HTTP server on loopback: retries, backoff, waiting over a restart, downloads."""

from __future__ import annotations

import base64
import threading
import time

import pytest

from hhray.client import CREATE_PATH, Client
from hhray.client_media import default_model
from hhray.errors import (
    ClientError,
    ConfigError,
    InvalidParameter,
    InvalidURL,
    MediaError,
    RequestRefused,
    ServerUnreachable,
    TaskFailed,
    WaitTimeout,
)
from hhray.tasks import TaskState

TASK = "/api/v1/tasks/t-1"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100


@pytest.fixture
def client(server):
    with Client(server.url, "hh-key", timeout_seconds=5) as made:
        yield made


def refusal(answer, status, code, **headers):
    return answer({"code": code, "message": "because", "request_id": "r"}, status, headers)


def test_submit_sends_what_was_given_and_leaves_the_rest_to_the_server(server, client, task_answer):
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    assert client.submit("happyhorse-1.0-t2v", "a horse 马", duration=3, seed=7) == "t-1"
    [request] = server.received
    assert request.json == {
        "model": "happyhorse-1.0-t2v",
        "input": {"prompt": "a horse 马"},
        "parameters": {"duration": 3, "seed": 7},
    }
    assert request.headers["x-dashscope-async"] == "enable"
    assert request.headers["authorization"] == "Bearer hh-key"


def test_submit_sends_a_picture_as_a_data_uri(server, client, task_answer, tmp_path):
    (tmp_path / "first.PNG").write_bytes(PNG)
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    client.submit("happyhorse-1.0-i2v", "", image=tmp_path / "first.PNG")
    [media] = server.received[0].json["input"]["media"]
    head, data = media["url"].split(",")
    assert (media["type"], head) == ("first_frame", "data:image/png;base64")
    assert base64.b64decode(data) == PNG


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("first.gif", b"GIF89a", "expected a .jpg"),
        ("first.jpg", PNG, "its first bytes say image/png"),
        ("first.webp", b"RIFF0000WAVE", "no picture"),
        ("first.png", b"", "no picture"),
        ("big.png", PNG + b"0" * 20_000_000, "larger than 20,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_fit_picture_is_refused_before_anything_is_sent(
    server, client, tmp_path, name, data, expected
):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(MediaError, match=expected):
        client.submit("happyhorse-1.0-i2v", "", image=tmp_path / name)
    assert not server.received


def test_a_picture_that_is_not_there_is_refused_with_its_name(client, tmp_path):
    with pytest.raises(MediaError, match=r"nowhere\.png: No such file"):
        client.submit("happyhorse-1.0-i2v", "", image=tmp_path / "nowhere.png")


def test_a_dropped_create_is_sent_again_with_the_same_idempotency_key(server, client, answer, task_answer):
    busy = refusal(answer, 503, "ModelUnavailable", **{"Retry-After": "0"})
    server.on("POST", CREATE_PATH, answer(drop=True), busy, task_answer("PENDING"))
    assert client.submit("happyhorse-1.0-t2v", "a horse") == "t-1"
    keys = [request.headers["idempotency-key"] for request in server.received]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_two_submits_have_two_idempotency_keys(server, client, task_answer):
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    client.submit("happyhorse-1.0-t2v", "a horse")
    client.submit("happyhorse-1.0-t2v", "a horse")
    assert len({request.headers["idempotency-key"] for request in server.received}) == 2


@pytest.mark.parametrize(("status", "code"), [(400, "InvalidParameter"), (401, "InvalidApiKey"), (429, "Throttling")])
def test_a_refused_create_is_not_sent_again(server, client, answer, status, code):
    server.on("POST", CREATE_PATH, refusal(answer, status, code, **{"Retry-After": "9"}))
    with pytest.raises(RequestRefused, match="because") as caught:
        client.submit("happyhorse-1.0-t2v", "a horse")
    assert (caught.value.code, caught.value.http_status, caught.value.retry_after_seconds) == (code, status, 9.0)
    assert len(server.received) == 1


def test_submit_gives_up_after_a_few_seconds_when_nobody_answers(server, client):
    server.stop()
    try:
        with pytest.raises(ServerUnreachable, match="is the server running there"):
            client.submit("happyhorse-1.0-t2v", "a horse")
    finally:
        server.start()


def test_get_reads_every_additive_field(server, client, task_answer):
    server.on(
        "GET",
        TASK,
        task_answer(
            "SUCCEEDED", progress=1.0, attempt=2, stages={"text": 0.5}, notice="small", video_url="http://h/c.mp4",
            submit_time="2026-04-20 17:55:17.075", end_time="2026-04-20 17:56:36.658",
        ),
    )  # fmt: skip
    view = client.get("t-1")
    assert (view.state, view.progress, view.attempt, view.stages) == (TaskState.SUCCEEDED, 1.0, 2, {"text": 0.5})
    assert (view.notice, view.video_url, view.queue_position) == ("small", "http://h/c.mp4", None)
    assert (view.submit_time, view.end_time) == ("2026-04-20 17:55:17.075", "2026-04-20 17:56:36.658")
    assert view.raw["request_id"] == "r-1"


def test_get_reads_an_answer_without_additive_fields(server, client, task_answer):
    server.on("GET", TASK, task_answer("UNKNOWN"))
    view = client.get("t-1")
    assert (view.state, view.progress, view.queue_position, view.stages) == (TaskState.UNKNOWN, 0.0, None, {})


@pytest.mark.parametrize("body", [{}, {"output": 5}, {"output": {"task_id": "t-1", "task_status": "DANCING"}}])
def test_an_answer_that_is_no_task_is_an_error_of_its_own(server, client, answer, body):
    server.on("GET", TASK, answer(body))
    with pytest.raises(ClientError, match="is not a task"):
        client.get("t-1")


def test_an_id_cannot_reach_another_route(server, client):
    with pytest.raises(RequestRefused, match="no script"):
        client.get("../../healthz?x=1")
    assert server.received[0].path == "/api/v1/tasks/..%2F..%2Fhealthz%3Fx%3D1"


def test_wait_tells_each_change_once(server, client, task_answer):
    running = task_answer("RUNNING", progress=0.5, attempt=1)
    waiting = task_answer("PENDING", queue_position=1)
    server.on("GET", TASK, waiting, waiting, running, running, task_answer("SUCCEEDED", video_url="http://h/c.mp4"))
    seen = []
    view = client.wait("t-1", seen.append, poll_seconds=0.01)
    assert [(v.state.value, v.progress, v.queue_position) for v in seen] == [
        ("PENDING", 0.0, 1),
        ("RUNNING", 0.5, None),
        ("SUCCEEDED", 0.0, None),
    ]
    assert view == seen[-1]


def test_wait_rides_out_drops_throttling_proxies_and_server_errors(server, client, answer, task_answer):
    running = task_answer("RUNNING")  # a good answer in between starts the pauses anew
    server.on(
        "GET", TASK, answer(drop=True), running, refusal(answer, 429, "Throttling.RateQuota", **{"Retry-After": "0"}),
        refusal(answer, 503, "ModelUnavailable", **{"Retry-After": "0"}), running,
        refusal(answer, 500, "InternalError"), running, answer(b"Path not found. Ping /-/routes", 404), running,
        answer(b"<html>bad gateway</html>", 502), task_answer("SUCCEEDED", video_url="http://h/c.mp4"),
    )  # fmt: skip
    troubles = []
    view = client.wait("t-1", timeout_seconds=30, poll_seconds=0.01, on_trouble=troubles.append)
    assert view.state is TaskState.SUCCEEDED
    assert [type(error).__name__ for error in troubles] == [
        "ServerUnreachable", "RequestRefused", "RequestRefused", "RequestRefused",
        "ServerUnreachable", "ServerUnreachable",
    ]  # fmt: skip


def test_wait_pauses_as_long_as_the_server_asks(server, client, answer, task_answer):
    busy = refusal(answer, 503, "ModelUnavailable", **{"Retry-After": "1"})
    server.on("GET", TASK, busy, task_answer("SUCCEEDED", video_url="http://h/c.mp4"))
    began = time.monotonic()
    client.wait("t-1", poll_seconds=0.01)
    assert 1.0 <= time.monotonic() - began < 3.0


def test_wait_outlasts_a_restart_of_the_server(server, client, task_answer):
    server.on("GET", TASK, task_answer("RUNNING", progress=0.25))
    running = threading.Event()
    views = []

    def watch(view):
        views.append(view)
        running.set()

    def restart():
        running.wait(10)
        server.stop()
        time.sleep(0.4)
        server.on("GET", TASK, task_answer("SUCCEEDED", video_url="http://h/c.mp4", attempt=2))
        server.start()

    thread = threading.Thread(target=restart)
    thread.start()
    troubles = []
    view = client.wait("t-1", watch, timeout_seconds=20, poll_seconds=0.02, on_trouble=troubles.append)
    thread.join()
    assert (view.state, view.attempt, views[0].state) == (TaskState.SUCCEEDED, 2, TaskState.RUNNING)
    assert troubles


def test_wait_ends_at_once_on_a_refusal_that_will_not_pass(server, client, answer):
    server.on("GET", TASK, refusal(answer, 401, "InvalidApiKey"))
    with pytest.raises(RequestRefused, match="because"):
        client.wait("t-1", poll_seconds=0.01)
    assert len(server.received) == 1


def test_wait_ends_when_its_time_is_up_and_says_what_the_task_did_last(server, client, task_answer):
    server.on("GET", TASK, task_answer("RUNNING"))
    with pytest.raises(WaitTimeout, match=r"within 0\.2 s \(it is RUNNING\)"):
        client.wait("t-1", timeout_seconds=0.2, poll_seconds=0.05)


@pytest.mark.parametrize(
    ("state", "output", "code"),
    [
        ("FAILED", {"code": "InputDownloadFailed", "message": "no picture there"}, "InputDownloadFailed"),
        ("CANCELED", {}, "CANCELED"),
        ("UNKNOWN", {}, "NotFound"),
    ],
)
def test_wait_raises_when_the_task_ends_without_a_clip(server, client, task_answer, state, output, code):
    server.on("GET", TASK, task_answer(state, **output))
    with pytest.raises(TaskFailed, match=output.get("message", state)) as caught:
        client.wait("t-1")
    assert (caught.value.state, caught.value.code, caught.value.task_id) == (state, code, "t-1")


def test_cancel_of_a_running_task_is_asked_for_explicitly(server, client, answer):
    server.on("POST", f"{TASK}/cancel", answer({"request_id": "r"}))
    client.cancel("t-1")
    client.cancel("t-1", running=True)
    assert [request.query for request in server.received] == [{}, {"running": "true"}]


def test_a_refused_cancel_carries_the_servers_code(server, client, answer):
    server.on("POST", f"{TASK}/cancel", refusal(answer, 400, "UnsupportedOperation"))
    with pytest.raises(RequestRefused) as caught:
        client.cancel("t-1")
    assert caught.value.code == "UnsupportedOperation"


def test_list_reads_a_page_and_sends_only_given_filters(server, client, answer):
    row = {"task_id": "t-1", "status": "SUCCEEDED", "model_name": "m", "gmt_create": 1000, "end_time": 3500}
    waiting = {"task_id": "t-2", "status": "PENDING", "model_name": "m", "gmt_create": 2000}
    server.on("GET", "/api/v1/tasks", answer({"total": 12, "total_page": 6, "page_no": 2, "data": [row, waiting]}))
    page = client.list(status="SUCCEEDED", page=2, page_size=2)
    assert server.received[0].query == {"status": "SUCCEEDED", "page_no": "2", "page_size": "2"}
    assert (page.total, page.total_pages, page.page) == (12, 6, 2)
    assert [(r.task_id, r.submitted_at, r.ended_at) for r in page.rows] == [("t-1", 1.0, 3.5), ("t-2", 2.0, None)]


def test_a_list_answer_without_rows_is_an_error_of_its_own(server, client, answer):
    server.on("GET", "/api/v1/tasks", answer({"total": 1, "total_page": 1, "page_no": 1}))
    with pytest.raises(ClientError, match="is not a list of tasks"):
        client.list()


def succeeded(client, server, task_answer, url):
    server.on("GET", TASK, task_answer("SUCCEEDED", video_url=url))
    return client.get("t-1")


def test_download_writes_the_file_and_nothing_beside_it(server, client, answer, task_answer, tmp_path):
    clip = bytes(range(256)) * 1000
    server.on("GET", "/artifacts/c.mp4", answer(clip))
    view = succeeded(client, server, task_answer, f"{server.url}/artifacts/c.mp4?Expires=1&Signature=s")
    (tmp_path / "clip.mp4").write_bytes(b"an older clip")
    assert client.download(view, tmp_path / "clip.mp4") == tmp_path / "clip.mp4"
    assert (tmp_path / "clip.mp4").read_bytes() == clip
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert server.received[-1].query == {"Expires": "1", "Signature": "s"}
    assert "authorization" not in server.received[-1].headers


@pytest.mark.parametrize(
    ("reply", "error", "expected"),
    [
        ({"body": b"half of it", "announce": 1000}, ServerUnreachable, "broke off"),
        ({"body": b"gone", "status": 403}, RequestRefused, "may have expired"),
        ({"status": 302, "headers": {"Location": "http://localhost:1/c.mp4"}}, ClientError, "to another host"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, ClientError, "another host|no http"),
        ({"status": 302, "headers": {"Location": "/artifacts/c.mp4"}}, ClientError, "more than 3 times"),
    ],
)
def test_a_download_that_fails_leaves_no_file_and_keeps_the_old_one(
    server, client, answer, task_answer, tmp_path, reply, error, expected
):
    server.on("GET", "/artifacts/c.mp4", answer(**reply))
    view = succeeded(client, server, task_answer, f"{server.url}/artifacts/c.mp4")
    (tmp_path / "clip.mp4").write_bytes(b"an older clip")
    with pytest.raises(error, match=expected):
        client.download(view, tmp_path / "clip.mp4")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an older clip"]


def test_a_download_follows_a_redirect_on_the_same_host(server, client, answer, task_answer, tmp_path):
    server.on("GET", "/old", answer(status=302, headers={"Location": "/new"}))
    server.on("GET", "/new", answer(b"clip"))
    client.download(succeeded(client, server, task_answer, f"{server.url}/old"), tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == b"clip"


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://h/c.mp4", "http://h:port", "clip.mp4"])
def test_a_clip_address_that_is_no_http_address_is_refused(server, client, task_answer, tmp_path, url):
    with pytest.raises(ClientError, match="the clip's address is"):
        client.download(succeeded(client, server, task_answer, url), tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said_so(server, client, answer, task_answer, tmp_path):
    server.on("GET", "/c", answer(b"clip"))
    view = succeeded(client, server, task_answer, f"{server.url}/c")
    with pytest.raises(ClientError, match="cannot write the clip"):
        client.download(view, tmp_path / "missing" / "clip.mp4")


def test_an_unfinished_task_has_nothing_to_download(server, client, task_answer, tmp_path):
    server.on("GET", TASK, task_answer("RUNNING"))
    with pytest.raises(TaskFailed, match="no clip yet"):
        client.download(client.get("t-1"), tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h:port"]
)
def test_a_server_url_that_is_none_is_refused_before_use(url):
    with pytest.raises(ConfigError, match="server's URL"):
        Client(url)


@pytest.mark.parametrize("key", ["a\r\nX-Admin: 1", "schlüssel", "\x00"])
def test_a_key_that_cannot_be_a_header_is_refused_and_not_repeated(key):
    with pytest.raises(ConfigError, match="API key") as caught:
        Client("http://127.0.0.1:1", key)
    assert key not in caught.value.message


def test_the_environments_proxy_is_not_used(server, task_answer, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.on("GET", TASK, task_answer("PENDING"))
    with Client(server.url) as client:
        assert client.get("t-1").state is TaskState.PENDING
    assert "authorization" not in server.received[0].headers


def test_a_model_is_chosen_by_the_media(tmp_path):
    picture, video = tmp_path / "first.png", "https://videos.example/1.mp4"
    assert default_model(None) == "happyhorse-1.0-t2v"
    assert default_model(picture) == "happyhorse-1.0-i2v"
    assert default_model(references=[picture]) == "happyhorse-1.0-r2v"
    assert default_model(video=video) == "happyhorse-1.0-video-edit"
    assert default_model(references=[picture], video=video) == "happyhorse-1.0-video-edit"


def test_submit_sends_video_references_and_every_parameter(server, client, task_answer, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    client.submit(
        "happyhorse-1.0-video-edit",
        "[Image 2] waves",
        references=["HTTPS://pictures.example/1.png", tmp_path / "a.png"],
        video="https://videos.example/1.mp4",
        language="German",
        dialogue="Hallo",
        audio_setting="origin",
        strict=True,
    )
    sent = server.received[0].json
    assert [(item["type"], item["url"][:30]) for item in sent["input"].pop("media")] == [
        ("video", "https://videos.example/1.mp4"),
        ("reference_image", "HTTPS://pictures.example/1.png"),
        ("reference_image", "data:image/png;base64,iVBORw0K"),
    ]
    assert sent["input"] == {"prompt": "[Image 2] waves", "dialogue": "Hallo"}
    assert sent["parameters"] == {"language": "German", "audio_setting": "origin", "strict_capabilities": True}


@pytest.mark.parametrize(
    ("media", "error", "part"),
    [
        ({"video": "clip.mp4"}, MediaError, "clip.mp4: No such file"),
        ({"video": "clip.avi"}, MediaError, "expected an .mp4 or .mov"),
        ({"video": "data:video/mp4;base64,AAAA"}, InvalidURL, "expected a file, or the http"),
        ({"video": "ftp://a.example/1.mp4"}, InvalidURL, "expected a file, or the http"),
        ({"image": "https://a.example/1.png", "video": "https://a.example/1.mp4"}, InvalidParameter, "takes both"),
        ({"image": "https://a.example/1.png", "references": ["b.png"]}, InvalidParameter, "takes both"),
        ({"references": ["https://a.example/1.png", "nowhere.png"]}, MediaError, "nowhere.png: No such file"),
        ({"references": ["ftp://a.example/1.png"]}, MediaError, "No such file"),
        ({"references": ["text.txt"]}, MediaError, "expected a .jpg"),
    ],
)
def test_media_that_cannot_be_used_are_refused_before_anything_is_sent(
    server, client, tmp_path, monkeypatch, media, error, part
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        client.submit("m", "a horse", **media)
    assert part in caught.value.message
    assert not server.received


def test_pictures_too_large_together_are_refused_before_anything_is_sent(server, client, tmp_path):
    (tmp_path / "big.png").write_bytes(PNG + bytes(17_000_000))
    with pytest.raises(MediaError, match="larger than 64,000,000 bytes together"):
        client.submit("happyhorse-1.0-r2v", "a horse", references=[tmp_path / "big.png"] * 3)
    assert not server.received
