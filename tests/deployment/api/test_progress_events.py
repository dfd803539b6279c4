"""Server-sent events of a video: the present state, every change, the end; resumed, bounded, shared, private."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager

import httpx
import pytest

from deployment.key_file import create_key
from deployment.progress_stream import ProgressHub, Shown
from hhray.errors import StoreUnavailable
from hhray.tasks import EngineRecord, Progress

BODY = {"prompt": "a horse", "size": "256P", "seconds": "3"}
QUICK = {"progress": {"poll_seconds": 0.02, "stream_seconds": 5.0}}


@pytest.fixture
def quick(serve_with):
    with serve_with(**QUICK) as server:
        yield server


def create(live, key="any"):
    answer = live.client.post("/v1/videos", json=BODY, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def events_of(text):
    """Events as a browser reads them: (id, event, data), comments and `retry` left out."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return found


@contextmanager
def listening(live, video_id, **headers):
    """The events of a stream, read while it is open."""
    found, ready = [], threading.Event()

    def read():
        with httpx.Client(base_url=live.url, timeout=20, trust_env=False) as client:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            with client.stream("GET", f"/v1/videos/{video_id}/events", headers=sent) as answer:
                assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
                buffer = ""
                for piece in answer.iter_text():
                    buffer += piece
                    if "event:" in buffer:
                        ready.set()
                    found[:] = events_of(buffer)

    thread = threading.Thread(target=read)
    thread.start()
    assert ready.wait(10)
    yield found
    thread.join(timeout=15)
    assert not thread.is_alive()


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stream_shows_every_step_and_ends_with_the_clip(quick):
    before, video_id = create(quick), create(quick)
    quick.store.heartbeat(EngineRecord("engine", 2, "pico", "ready"))
    with listening(quick, video_id) as events:
        until(lambda: events)
        (claim,) = quick.store.claim([video_id], "engine", 60.0)
        for step in (2, 5):
            quick.store.renew("engine", 60.0, {video_id: Progress(step / 8, "denoise")})
            until(lambda step=step: events[-1][2].get("step") == step)
        artifact = quick.services.artifacts.put_bytes(f"clips/{video_id}/1.mp4", b"the clip")
        assert quick.store.publish(video_id, "engine", claim.fence, artifact, {}, "")
    name, kind, first = events[0]
    assert (name, kind) == ("pending-0-1-", "progress")
    assert (first["status"], first["task_status"], first["queue_position"]) == ("queued", "PENDING", 1)
    running = [data for _, _, data in events if data["status"] == "in_progress"]
    assert [(data["step"], data["steps"], data["progress"]) for data in running][-2:] == [(2, 8, 25), (5, 8, 62)]
    assert all(data["eta_seconds"] >= 0 and data["eta_error_seconds"] >= 1 for data in running)
    assert running[-1]["stage"] == "denoise"
    name, kind, last = events[-1]
    assert (kind, last["status"], last["progress"], last["id"]) == ("done", "completed", 100, video_id)
    assert len({name for name, _, _ in events}) == len(events)  # every state once
    assert quick.store.get(before).state == "PENDING"


def test_a_client_goes_on_where_it_was_and_stops_asking_after_the_end(quick):
    video_id = create(quick)
    with listening(quick, video_id) as events:
        until(lambda: events)
        seen = events[0][0]
        quick.finish(video_id)
    again = quick.client.get(f"/v1/videos/{video_id}/events", headers={"last-event-id": seen})
    assert [kind for _, kind, _ in events_of(again.text)] == ["done"]
    assert again.text.startswith("retry: 1000\n\n")
    ended = quick.client.get(f"/v1/videos/{video_id}/events", headers={"last-event-id": events[-1][0]})
    assert (ended.status_code, ended.content) == (204, b"")


def test_a_stream_is_short_lived(serve_with):
    with serve_with(progress={"poll_seconds": 0.02, "stream_seconds": 0.2}) as live:
        video_id = create(live)
        first = live.client.get(f"/v1/videos/{video_id}/events").text
        ((seen, kind, _),) = events_of(first)
        assert kind == "progress"
        # who has seen the present state is told nothing, until something changes
        assert events_of(live.client.get(f"/v1/videos/{video_id}/events", headers={"last-event-id": seen}).text) == []


def test_a_video_that_is_deleted_meanwhile_ends_its_stream(quick):
    video_id = create(quick)
    with listening(quick, video_id) as events:
        until(lambda: events)
        assert quick.client.delete(f"/v1/videos/{video_id}").status_code == 200
    name, kind, data = events[-1]
    assert (name, kind, data["task_status"], data["error"]["code"]) == ("gone", "done", "UNKNOWN", "not_found")


def test_streams_of_a_tenant_are_capped_and_another_tenants_video_does_not_exist(serve_with, tmp_path):
    with serve_with(progress={**QUICK["progress"], "streams_per_tenant": 1}) as open_server:
        settings = open_server.services.settings
        secret = (settings.home / "secret").read_text(encoding="ascii").strip().encode()
        alice, bob = (create_key(settings.keys_file, secret, tenant, False) for tenant in ("alice", "bob"))
        video_id = create(open_server, alice)
        path = f"/v1/videos/{video_id}/events"

        def ask(key):
            return open_server.client.get(path, headers={"authorization": f"Bearer {key}"})

        assert ask(bob).status_code == 404
        with listening(open_server, video_id, authorization=f"Bearer {alice}"):
            refused = ask(alice)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            assert refused.headers["retry-after"] == "5"
            open_server.finish(video_id)
        assert ask(alice).status_code == 200  # the place is free again


def state(name, *, done=False):
    return Shown(name, done, {"state": name})


def test_five_hundred_listeners_share_one_look_and_leave_nothing_behind():
    looks, now = [], {"name": "running-1", "done": False}

    def look(task_ids):
        looks.append(len(task_ids))
        if len(looks) == 2:
            raise StoreUnavailable("for a moment")
        return {task_id: state(now["name"], done=now["done"]) for task_id in task_ids}

    async def drive():
        hub = ProgressHub(look, 0.02)
        got = Counter()

        async def listen(number):
            async for text in hub.stream("alice", f"t{number % 50}", state("pending"), "", 10.0):
                got.update([name for name, _, _ in events_of(text)])

        async def reached(condition):
            async with asyncio.timeout(20):
                while not condition():
                    await asyncio.sleep(0.01)

        listeners = [asyncio.create_task(listen(number)) for number in range(500)]
        await reached(lambda: got["running-1"] == 500)
        assert hub.streams == {"alice": 500}
        listeners[0].cancel()  # a client that goes
        now.update(name="succeeded-1", done=True)
        await asyncio.gather(*listeners, return_exceptions=True)
        await reached(lambda: hub._poller is None)  # nobody looks when nobody listens
        assert hub.streams == Counter()
        assert hub._listeners == {}
        return got

    got = asyncio.run(drive())
    assert (got["pending"], got["running-1"], got["succeeded-1"]) == (500, 500, 499)
    assert max(looks) == 50
    assert len(looks) < 250  # each for itself would have looked three times at least, 1500 in all


def test_a_client_that_goes_is_forgotten_by_the_server(serve_with):
    with serve_with(progress={"poll_seconds": 0.02, "stream_seconds": 60.0, "streams_per_tenant": 1}) as live:
        video_id = create(live)

        def status():
            """Of a stream that is left at once."""
            with live.client.stream("GET", f"/v1/videos/{video_id}/events") as answer:
                if answer.status_code == 200:
                    next(answer.iter_text())
                return answer.status_code

        assert status() == 200
        until(lambda: status() == 200)  # 429 as long as the one before counts
