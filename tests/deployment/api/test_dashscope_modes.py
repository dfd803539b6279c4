"""Every mode with local files, through the unmodified dashscope package on each of its surfaces, and through curl.

The engine is the test: it takes the media in as the server does, and publishes a real MP4 for each task.
"""

from __future__ import annotations

import asyncio
import copy
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import httpx
import pytest

from playing_engine import finishing

MODES = {
    "happyhorse-1.1-t2v": ("t2v", 720, "9:16"),
    "happyhorse-1.0-i2v": ("i2v", 720, None),
    "happyhorse-1.1-r2v": ("r2v", 720, "9:16"),
    "happyhorse-1.0-video-edit": ("video-edit", 720, None),
}
WANTED = {"resolution": "720P", "ratio": "9:16", "duration": 3, "watermark": False}


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


@pytest.fixture
def files(tmp_path, picture, video):
    """Pictures and a video of the client's, under names that are text only."""
    made = {"first frame 马.png": picture(400, 400), "reference.jpg": picture(400, 500, "JPEG"), "source.mp4": video()}
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    first, reference, source = (str(tmp_path / name) for name in made)
    return {
        "i2v": [{"type": "first_frame", "url": f"file://{first}"}],
        "r2v": [{"type": "reference_image", "url": first}, {"type": "reference_image", "url": f"file://{reference}"}],
        "video-edit": [{"type": "video", "url": f"file://{source}"}, {"type": "reference_image", "url": reference}],
    }


@pytest.fixture
def engine(live, video):
    """A context in which every task is finished a moment after it was created."""
    clip = video(1.0, 10, (64, 48))

    return lambda: finishing(live, clip)


def wish(model, files):
    mode = MODES[model][0]
    media = {"media": copy.deepcopy(files[mode])} if mode in files else {}
    prompt = "[Image 1] waves at character2" if mode == "r2v" else "a horse 马"
    return {"model": model, "prompt": prompt, **WANTED, **media}


def check(live, model, task_id, url, usage):
    """The task was of that mode, its usage is the dialect's, and its clip plays."""
    mode, lines, ratio = MODES[model]
    task = live.store.get(task_id)
    assert (task.request.mode, task.request.model, task.request.watermark) == (mode, model, False)
    assert (usage["SR"], usage.get("ratio")) == (lines, ratio)
    assert usage["duration"] == (6.4 if mode == "video-edit" else 3)
    with av.open(io.BytesIO(httpx.get(url, trust_env=False).content)) as container:
        assert len(container.streams.video) == len(container.streams.audio) == 1


def test_the_sync_surface_in_every_mode(live, dashscope, engine, files):
    surface = dashscope.VideoSynthesis
    waiting = surface.async_call(**wish("happyhorse-1.1-t2v", files)).output.task_id
    assert surface.cancel(waiting).status_code == 200
    with engine(), ThreadPoolExecutor(len(MODES)) as pool:
        answers = dict(zip(MODES, pool.map(lambda model: surface.call(**wish(model, files)), MODES), strict=True))
    for model, answer in answers.items():
        assert answer.output.task_status == "SUCCEEDED", answer
        check(live, model, answer.output.task_id, answer.output.video_url, answer.usage)
    listed = surface.list(page_size=3, status="SUCCEEDED").output
    assert (listed["total"], len(listed["data"])) == (4, 3)


def test_the_async_surface_in_every_mode(live, dashscope, engine, files):
    from dashscope.aigc.video_synthesis import AioVideoSynthesis as Surface
    from dashscope.api_entities.aio_session import close_shared_aio_session

    async def drive():
        try:
            waiting = await Surface.async_call(**wish("happyhorse-1.1-t2v", files))
            cancelled = await Surface.cancel(waiting.output.task_id)
            with engine():
                answers = await asyncio.gather(*[Surface.call(**wish(model, files)) for model in MODES])
            return cancelled, dict(zip(MODES, answers, strict=True)), await Surface.list(status="SUCCEEDED")
        finally:
            await close_shared_aio_session()

    cancelled, answers, listed = asyncio.run(drive())
    assert cancelled.status_code == 200
    for model, answer in answers.items():
        assert answer.output.task_status == "SUCCEEDED", answer
        check(live, model, answer.output.task_id, answer.output.video_url, answer.usage)
    assert listed.output["total"] == 4


def test_the_v2_client_in_every_mode(live, dashscope, engine, files):
    from dashscope.v2 import Client

    with Client(api_key="sk-test", base_url=f"{live.url}/api/v1", workspace="ws-1") as client:
        jobs = client.videos.jobs
        waiting = jobs.create(**wish("happyhorse-1.1-t2v", files))
        jobs.cancel(waiting.task_id)
        with engine():
            made = {model: jobs.create(**wish(model, files)) for model in MODES}
            with ThreadPoolExecutor(len(MODES)) as pool:
                done = dict(zip(made, pool.map(lambda job: jobs.wait(job.task_id), made.values()), strict=True))
        for model, job in done.items():
            assert job.succeeded, job
            check(live, model, job.task_id, job.video_url, live.get(job.task_id)["usage"])
        assert live.store.get(waiting.task_id).request.workspace == "ws-1"
        assert len(jobs.list(status="SUCCEEDED").tasks) == 4


def test_the_official_command_line_with_a_local_first_frame(live, engine, files, tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DASHSCOPE_API_KEY": "sk-test",
        "DASHSCOPE_HTTP_BASE_URL": f"{live.url}/api/v1",
    }
    words = ["create", "-m", "happyhorse-1.0-i2v", "-p", "a horse", "--duration", "3", "--resolution", "720P"]
    words += ["--no-watermark", "--img-url", files["i2v"][0]["url"]]
    command = [sys.executable, "-m", "dashscope.cli", "video-synthesis", *words]
    with engine():
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    output, _, usage = done.stdout.partition("\n}\n")
    output = json.loads(output + "}")
    check(live, "happyhorse-1.0-i2v", output["task_id"], output["video_url"], json.loads(usage))


def test_curl_in_every_mode(live, engine, files, tmp_path):
    script = Path(__file__).with_name("curl_lines.sh")
    environment = {
        "PATH": os.environ["PATH"],
        "BASE": f"{live.url}/api/v1",
        "KEY": "sk-test",
        "PICTURE": files["i2v"][0]["url"].removeprefix("file://"),
        "VIDEO": files["video-edit"][0]["url"].removeprefix("file://"),
        "OUT": str(tmp_path / "out"),
    }
    (tmp_path / "out").mkdir()
    with engine():
        done = subprocess.run(
            ["sh", "-eu", str(script)], env=environment, capture_output=True, text=True, timeout=100, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    ids = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("SUCCEEDED ")]
    assert [live.store.get(task_id).request.mode for task_id in ids] == ["t2v", "i2v", "r2v", "video-edit"]
    for task_id in ids:
        with av.open(str(tmp_path / "out" / f"{task_id}.mp4")) as container:
            assert len(container.streams.video) == 1
    listed = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert listed["total"] >= 4
    assert '"code":"UnsupportedOperation"' in done.stdout or "CANCELED" in done.stdout
