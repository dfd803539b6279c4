"""The client beyond questions and answers: events, uploads, downloads that break off; with and without a loop."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json

import pytest

from hhray.client import CREATE_PATH, AsyncClient, Client
from hhray.client_blocking import at_once
from hhray.client_events import MAX_EVENT_CHARS, ServerEvent, read_events
from hhray.errors import ClientError, MediaError, RequestRefused, ServerUnreachable, TaskFailed, WaitTimeout
from hhray.tasks import TaskState

TASK, EVENTS = "/api/v1/tasks/t-1", "/v1/videos/t-1/events"
CLIP = bytes(range(256)) * 400
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(200)


@pytest.fixture
def client(server):
    with Client(server.url, "hh-key", timeout_seconds=5) as made:
        yield made


def event(status="RUNNING", last_id="1", name="progress", **fields):
    video = {"id": "t-1", "object": "video", "status": "in_progress", "progress": 0, "task_status": status} | fields
    return f"id: {last_id}\nevent: {name}\ndata: {json.dumps(video)}\n\n"


def stream(answer, *events):
    return answer(b"retry: 1000\n\n" + "".join(events).encode(), headers={"Content-Type": "text/event-stream"})


async def lines_of(text):
    for line in text.split("\n"):
        yield line


def events_of(text):
    async def collect():
        return [found async for found in read_events(lines_of(text))]

    return asyncio.run(collect())


def test_events_are_read_as_the_standard_says():
    text = ": a comment\nretry: 1000\n\nid: 7\nevent: progress\ndata: one\ndata:two\n\n"
    text += "data: three\nunknown: x\nid\n\nevent: x\n\ndata: cut"
    assert events_of(text) == [ServerEvent("progress", "one\ntwo", "7"), ServerEvent("message", "three", "")]


def test_an_event_without_an_end_is_given_up():
    with pytest.raises(ValueError, match="longer than"):
        events_of(f"data: {'x' * (MAX_EVENT_CHARS + 1)}\n\n")


def test_wait_follows_the_events_and_asks_for_the_result_once(server, client, answer, task_answer):
    waiting = event("PENDING", "a", queue_position=2, eta_seconds=9.5, eta_error_seconds=2.0)
    running = event("RUNNING", "b", progress=25, step=2, steps=8, stage="denoise", eta_seconds=6.0)
    server.on("GET", TASK, task_answer("PENDING", queue_position=2), task_answer("SUCCEEDED", video_url="http://h/c"))
    server.on("GET", EVENTS, stream(answer, waiting, running, event("SUCCEEDED", "c", "done", progress=100)))
    seen = []
    view = client.wait("t-1", seen.append, poll_seconds=5)
    assert [(v.state.value, v.queue_position, v.stage, v.eta_seconds) for v in seen] == [
        ("PENDING", 2, "", None),
        ("PENDING", 2, "", 9.5),
        ("RUNNING", None, "denoise", 6.0),
        ("SUCCEEDED", None, "", None),
    ]
    assert (seen[2].progress, seen[2].step, seen[2].steps, seen[1].eta_error_seconds) == (0.25, 2, 8, 2.0)
    assert view.video_url == "http://h/c"
    assert [request.path for request in server.received] == [TASK, EVENTS, TASK]
    assert server.received[1].headers["accept"] == "text/event-stream"


def test_a_stream_that_ends_is_opened_again_where_it_was(server, client, answer, task_answer):
    running = task_answer("RUNNING")
    server.on("GET", TASK, running, running, running, task_answer("SUCCEEDED", video_url="http://h/c"))
    broken = answer(event("RUNNING", "b").encode(), headers={"Content-Type": "text/event-stream"}, announce=5000)
    last = stream(answer, event("SUCCEEDED", "c", "done"))
    server.on("GET", EVENTS, stream(answer, event("RUNNING", "a", progress=10)), broken, last)
    troubles = []
    client.wait("t-1", poll_seconds=5, on_trouble=troubles.append)
    given = [request.headers.get("last-event-id") for request in server.received if request.path == EVENTS]
    assert given == [None, "a", "b"]
    assert [type(error) for error in troubles] == [ServerUnreachable]


@pytest.mark.parametrize(
    "reply",
    [
        {"body": {"code": "NotFound", "message": "no"}, "status": 404},
        {"body": {"error": {"message": "no", "type": "x", "param": None, "code": "x"}}, "status": 404},
        {"body": b"<html>", "status": 405},
        {"body": b"<html>hello"},
    ],
)
def test_a_server_without_events_is_asked_again_and_again(server, client, answer, task_answer, reply):
    running = task_answer("RUNNING")
    server.on("GET", TASK, running, running, running, task_answer("SUCCEEDED", video_url="http://h/c"))
    server.on("GET", EVENTS, answer(**reply))
    assert client.wait("t-1", poll_seconds=0.01).state is TaskState.SUCCEEDED
    assert [request.path for request in server.received].count(EVENTS) == 1


def test_a_refused_stream_ends_the_wait_and_a_malformed_one_does_not(server, client, answer, task_answer):
    server.on("GET", TASK, task_answer("RUNNING"), task_answer("SUCCEEDED", video_url="http://h/c"))
    server.on("GET", EVENTS, stream(answer, "data: {\n\n"))
    troubles = []
    client.wait("t-1", poll_seconds=0.01, on_trouble=troubles.append)
    assert "malformed" in troubles[0].message
    server.on("GET", TASK, task_answer("RUNNING"))
    server.on("GET", EVENTS, answer({"code": "AccessDenied", "message": "not yours"}, 403))
    with pytest.raises(RequestRefused, match="not yours"):
        client.wait("t-1", poll_seconds=0.01)


def test_a_silent_stream_does_not_outlast_the_patience(server, client, answer, task_answer):
    server.on("GET", TASK, task_answer("RUNNING"))
    server.on("GET", EVENTS, stream(answer))
    with pytest.raises(WaitTimeout):
        client.wait("t-1", timeout_seconds=0.2, poll_seconds=0.05)


def test_both_faces_have_the_same_methods_and_the_asynchronous_one_shares_a_loop(server, answer, task_answer, tmp_path):
    names = {name for name in vars(AsyncClient) if not name.startswith("_")}
    assert names == {name for name in vars(Client) if not name.startswith("_")}
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    server.on("GET", TASK, task_answer("RUNNING"), task_answer("SUCCEEDED", video_url=f"{server.url}/c"))
    server.on("GET", "/c", answer(CLIP))

    async def use():
        async with AsyncClient(server.url) as client:
            ids = await asyncio.gather(*(client.submit("m", "a horse") for _ in range(3)))
            view = await client.wait(ids[0], poll_seconds=0.01)
            return await client.download(view, tmp_path / "c.mp4")

    assert asyncio.run(use()).read_bytes() == CLIP


def test_a_call_that_waits_for_a_loop_is_an_error_not_a_hang():
    with pytest.raises(RuntimeError, match="event loop"):
        at_once(asyncio.sleep(0))


def test_the_blocking_client_works_where_a_loop_already_runs(server, task_answer):
    server.on("GET", TASK, task_answer("RUNNING"))

    async def within():
        with Client(server.url) as client:
            return client.get("t-1").state

    assert asyncio.run(within()) is TaskState.RUNNING


def test_a_submit_under_a_key_of_the_callers_own_sends_that(server, client, task_answer):
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    client.submit("m", "a horse", idempotency_key="mine", watermark=False, webhook_url="https://a.example/h")
    assert server.received[0].headers["idempotency-key"] == "mine"
    assert server.received[0].json["parameters"] == {"watermark": False, "webhook_url": "https://a.example/h"}


def digest(data):
    return "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"


def done(client, server, task_answer):
    server.on("GET", TASK, task_answer("SUCCEEDED", video_url=f"{server.url}/c"))
    return client.get("t-1")


def test_a_download_goes_on_where_it_broke_off_and_is_checked(server, client, answer, task_answer, tmp_path):
    named = {"ETag": '"v1"', "Repr-Digest": digest(CLIP)}
    first = answer(CLIP[:1000], announce=len(CLIP), headers=named)
    rest = {**named, "Content-Range": f"bytes 1000-{len(CLIP) - 1}/{len(CLIP)}"}
    server.on("GET", "/c", first, answer(CLIP[1000:], 206, rest))
    client.download(done(client, server, task_answer), tmp_path / "c.mp4")
    assert (tmp_path / "c.mp4").read_bytes() == CLIP
    assert server.received[-1].headers["range"] == "bytes=1000-"
    assert server.received[-1].headers["if-range"] == '"v1"'


@pytest.mark.parametrize("etag", ['"v1"', 'W/"v1"', ""])
def test_a_download_begins_again_where_the_server_sends_all_of_it(server, client, answer, task_answer, tmp_path, etag):
    named = {"ETag": etag} if etag else {}
    server.on("GET", "/c", answer(b"older" * 100, announce=len(CLIP), headers=named), answer(CLIP))
    client.download(done(client, server, task_answer), tmp_path / "c.mp4")
    assert (tmp_path / "c.mp4").read_bytes() == CLIP
    assert ("range" in server.received[-1].headers) is (etag == '"v1"')


def test_a_clip_that_is_not_what_its_checksum_says_is_not_kept(server, client, answer, task_answer, tmp_path):
    server.on("GET", "/c", answer(CLIP, headers={"Repr-Digest": digest(b"another")}))
    with pytest.raises(ClientError, match="checksum"):
        client.download(done(client, server, task_answer), tmp_path / "c.mp4")
    assert list(tmp_path.iterdir()) == []


def policy(server):
    data = {
        "policy": "p", "signature": "s", "upload_dir": "uploads/1", "upload_host": f"{server.url}/oss",
        "oss_access_key_id": "id", "x_oss_object_acl": "private", "x_oss_forbid_overwrite": "true",
    }  # fmt: skip
    return {"request_id": "r", "data": data}


def test_a_local_video_is_uploaded_ahead_of_its_create(server, client, answer, task_answer, tmp_path):
    (tmp_path / "my walk;.mp4").write_bytes(MP4)
    server.on("GET", "/api/v1/uploads", answer(policy(server)))
    server.on("POST", "/oss", answer(b""))
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    client.submit("happyhorse-1.0-video-edit", "it snows", video=tmp_path / "my walk;.mp4")
    asked, sent, created = server.received
    assert asked.query == {"action": "getPolicy", "model": "happyhorse-1.0-video-edit"}
    names = [part.partition(b'"')[0].decode() for part in sent.body.split(b'; name="')[1:]]
    assert names == [
        "OSSAccessKeyId", "Signature", "policy", "x-oss-object-acl", "x-oss-forbid-overwrite", "key",
        "success_action_status", "x-oss-content-type", "file",
    ]  # fmt: skip
    assert MP4 in sent.body
    assert b"my walk" not in sent.body
    assert "authorization" not in sent.headers
    assert created.json["input"]["media"] == [{"type": "video", "url": "oss://uploads/1/video.mp4"}]
    assert created.headers["x-dashscope-ossresourceresolve"] == "enable"


def test_an_upload_that_is_refused_makes_no_task(server, client, answer, tmp_path):
    (tmp_path / "walk.mp4").write_bytes(MP4)
    server.on("GET", "/api/v1/uploads", answer(policy(server)))
    server.on("POST", "/oss", answer(b"too large", 400))
    with pytest.raises(RequestRefused, match="too large"):
        client.submit("happyhorse-1.0-video-edit", "it snows", video=str(tmp_path / "walk.mp4"))
    (tmp_path / "walk.mp4").write_bytes(b"text")
    with pytest.raises(MediaError, match="first bytes do not"):
        client.upload(tmp_path / "walk.mp4", "m")
    server.on("GET", "/api/v1/uploads", answer({"request_id": "r"}))
    (tmp_path / "walk.mp4").write_bytes(MP4)
    with pytest.raises(ClientError, match="not a permission"):
        client.upload(tmp_path / "walk.mp4", "m")
    assert CREATE_PATH not in {request.path for request in server.received}


def test_a_task_that_failed_in_its_events_raises_with_the_code_of_the_query(server, client, answer, task_answer):
    server.on("GET", TASK, task_answer("RUNNING"), task_answer("FAILED", code="InternalError", message="a gang died"))
    server.on("GET", EVENTS, stream(answer, event("FAILED", "x", "done")))
    with pytest.raises(TaskFailed, match="a gang died"):
        client.wait("t-1")
