"""The unmodified dashscope package against this server: its four surfaces, and no engine but the test itself."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import time

import httpx
import pytest

MODEL = "happyhorse-1.0-t2v"
WANTED = {"resolution": "720P", "ratio": "16:9", "duration": 3}


@pytest.fixture
def dashscope(live, monkeypatch, tmp_path):
    """The package, pointed at the server."""
    import dashscope

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{live.url}/api/v1")
    monkeypatch.setattr(dashscope, "api_key", "sk-test")
    yield dashscope
    from dashscope.api_entities.http_request import close_shared_sync_session

    close_shared_sync_session()


def run_async(drive):
    """Run a coroutine and close what the package keeps open on its loop."""
    from dashscope.api_entities.aio_session import close_shared_aio_session

    async def run():
        try:
            return await drive()
        finally:
            await close_shared_aio_session()

    return asyncio.run(run())


@pytest.fixture
def engine(live):
    """Finishes every task a moment after it was created."""
    stop = threading.Event()

    def work():
        while not stop.wait(0.05):
            for queued in live.store.queued():
                live.finish(queued.task_id, b"the clip")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_the_sync_call_waits_and_its_url_downloads(live, dashscope, engine):
    answer = dashscope.VideoSynthesis.call(model=MODEL, prompt="a horse 马", **WANTED)
    assert (answer.status_code, answer.output.task_status) == (200, "SUCCEEDED")
    assert httpx.get(answer.output.video_url, trust_env=False).content == b"the clip"
    assert (answer.usage["SR"], answer.usage["duration"], answer.usage["ratio"]) == (720, 3, "16:9")
    task = live.store.get(answer.output.task_id)
    assert (task.request.prompt, str(task.request.shape_key)) == ("a horse 马", "t2v/720P/16:9/3")


def test_the_sync_surface_creates_fetches_cancels_and_lists(dashscope):
    created = dashscope.VideoSynthesis.async_call(model=MODEL, prompt="a horse", **WANTED)
    assert (created.status_code, created.output.task_status) == (200, "PENDING")
    fetched = dashscope.VideoSynthesis.fetch(created.output.task_id)
    assert fetched.output["progress"] == 0.0
    assert dashscope.VideoSynthesis.cancel(created.output.task_id).status_code == 200
    again = dashscope.VideoSynthesis.cancel(created.output.task_id)
    assert (again.status_code, again.code) == (400, "UnsupportedOperation")
    assert dashscope.VideoSynthesis.wait(created.output.task_id).output.task_status == "CANCELED"
    listed = dashscope.VideoSynthesis.list(model_name=MODEL, status="CANCELED")
    assert listed.status_code == 200
    assert listed.output["total"] == 1
    assert listed.output["data"][0]["task_id"] == created.output.task_id


def test_the_sync_surface_shows_our_sentences(dashscope):
    refused = dashscope.VideoSynthesis.async_call(model=MODEL, prompt="a horse", duration=16)
    assert (refused.status_code, refused.code) == (400, "InvalidParameter")
    assert "parameters.duration: expected an integer from 3 to 15" in refused.message
    refused = dashscope.VideoSynthesis.async_call(model="happyhorse-1.0-r2v", prompt="a horse")
    assert "Field required: input.media. Expected 1 to 9 reference_image" in refused.message
    assert dashscope.VideoSynthesis.async_call(model=MODEL).code == "InvalidParameter"


def test_the_sync_surface_sends_a_picture_in_both_spellings(live, dashscope, picture):
    url = "data:image/png;base64," + base64.b64encode(picture(400, 400)).decode()
    media = [{"type": "first_frame", "url": url}]
    for given in ({"media": media}, {"img_url": url}):
        created = dashscope.VideoSynthesis.async_call(model="happyhorse-1.0-i2v", duration=3, **given)
        assert created.status_code == 200, created.message
        assert live.intake.run_once()
        task = live.store.get(created.output.task_id)
        assert (task.ready, task.request.ratio) == (True, "1:1")


def test_the_sync_surface_sends_references_and_an_edit(live, dashscope, picture):
    url = "data:image/png;base64," + base64.b64encode(picture(400, 400)).decode()
    references = [{"type": "reference_image", "url": url}] * 2
    call = dashscope.VideoSynthesis.async_call
    created = call(
        model="happyhorse-1.0-r2v", prompt="[Image2] waves", media=references, ratio="9:16", language="german"
    )
    assert created.status_code == 200, created.message
    assert live.intake.run_once()
    task = live.store.get(created.output.task_id)
    assert (task.ready, task.request.ratio, task.request.language) == (True, "9:16", "German")
    video = {"type": "video", "url": "https://videos.example/1.mp4"}
    media = [video, *references]
    created = call(model="happyhorse-1.0-video-edit", prompt="x", media=media, audio_setting="origin")
    assert created.status_code == 200, created.message
    task = live.store.get(created.output.task_id)
    assert (task.request.mode, task.request.audio_setting, len(task.request.media)) == ("video-edit", "origin", 3)


def test_the_async_surface_with_its_trailing_slashes(live, dashscope, engine):
    from dashscope.aigc.video_synthesis import AioVideoSynthesis

    async def drive():
        surface = AioVideoSynthesis
        done = await surface.call(model=MODEL, prompt="a horse", **WANTED)
        fetched = await surface.fetch(done.output.task_id)
        cancelled = await surface.cancel(done.output.task_id)
        return done, fetched, cancelled, await surface.list()

    done, fetched, cancelled, listed = run_async(drive)
    assert done.output.task_status == fetched.output.task_status == "SUCCEEDED"
    assert httpx.get(done.output.video_url, trust_env=False).content == b"the clip"
    assert (cancelled.status_code, cancelled.code) == (400, "UnsupportedOperation")
    assert listed.output["total"] == 1


def test_the_async_surface_cancels_a_waiting_task(live, dashscope):
    from dashscope.aigc.video_synthesis import AioVideoSynthesis

    async def drive():
        surface = AioVideoSynthesis
        created = await surface.async_call(model=MODEL, prompt="a horse", **WANTED)
        cancelled = await surface.cancel(created.output.task_id)
        return cancelled, await surface.wait(created.output.task_id)

    cancelled, ended = run_async(drive)
    assert cancelled.status_code == 200
    assert ended.output.task_status == "CANCELED"


def test_the_v2_client(live, dashscope, engine):
    from dashscope.v2 import Client
    from dashscope.v2.errors import DashScopeError

    with Client(api_key="sk-test", base_url=f"{live.url}/api/v1") as client:
        job = client.videos.jobs.create(model=MODEL, prompt="a horse", **WANTED)
        done = client.videos.jobs.wait(job.task_id)
        assert done.succeeded
        assert httpx.get(done.video_url, trust_env=False).content == b"the clip"
        page = client.videos.jobs.list(status="SUCCEEDED")
        assert (page.total, [item.task_id for item in page.tasks]) == (1, [job.task_id])
        assert page.tasks[0].succeeded
        with pytest.raises(DashScopeError, match="ratio: expected one of") as caught:
            client.videos.jobs.create(model=MODEL, prompt="a horse", ratio="17:9")
        assert caught.value.request_id


def test_the_v2_client_cancels_and_asks_for_unknown_tasks(live, dashscope):
    from dashscope.v2 import Client

    with Client(api_key="sk-test", base_url=f"{live.url}/api/v1") as client:
        job = client.videos.jobs.create(model=MODEL, prompt="a horse", **WANTED)
        client.videos.jobs.cancel(job.task_id)
        assert client.videos.jobs.fetch(job.task_id).status == "CANCELED"
        assert client.videos.jobs.wait("00000000-0000-4000-8000-000000000000").status == "UNKNOWN"


def test_the_official_command_line(live, engine, tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DASHSCOPE_API_KEY": "sk-test",
        "DASHSCOPE_HTTP_BASE_URL": f"{live.url}/api/v1",
    }

    def run(*words):
        command = [sys.executable, "-m", "dashscope.cli", "video-synthesis", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    output = json.loads(run("create", "-m", MODEL, "-p", "a horse", "--duration", "3").partition("\n}\n")[0] + "}")
    assert output["task_status"] == "SUCCEEDED"
    task_id = output["task_id"]
    assert '"SUCCEEDED"' in run("fetch", task_id)
    assert '"SUCCEEDED"' in run("wait", task_id)
    assert task_id[:8] in run("list")


def test_the_official_command_line_cancels(live, tmp_path):
    task_id = live.create_id({"model": MODEL, "input": {"prompt": "x"}})
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DASHSCOPE_API_KEY": "sk-test",
        "DASHSCOPE_HTTP_BASE_URL": f"{live.url}/api/v1",
    }
    command = [sys.executable, "-m", "dashscope.cli", "video-synthesis", "cancel", task_id]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert live.get(task_id)["output"]["task_status"] == "CANCELED"


def test_a_create_after_a_dropped_connection_makes_one_task_with_an_idempotency_key(live, dashscope):
    began = time.time()
    ids = {
        dashscope.VideoSynthesis.async_call(
            model=MODEL, prompt="a horse", headers={"Idempotency-Key": "order-1"}
        ).output.task_id
        for _ in range(2)
    }
    assert len(ids) == 1
    assert time.time() - began < 30
