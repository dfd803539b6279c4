"""A real server for the tests of the HTTP side: the application on uvicorn, the real store, no engine.

Tests play the engine by hand: they claim and publish through the store.
"""

from __future__ import annotations

import functools
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

from deployment.artifacts import clip_key, open_artifacts
from deployment.backlog import Backlog
from deployment.intake import MediaIntake
from deployment.keys import KeyRing, server_secret
from deployment.moderation import open_moderation
from deployment.store.sqlite import SqliteStore
from deployment.web import Services, create_app
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import Settings
from hhray.tasks import Task

CREATE = "/api/v1/services/aigc/video-generation/video-synthesis"


@dataclass
class Live:
    """A running server and what its tests reach into."""

    url: str
    services: Services
    client: httpx.Client
    kicked: list[str] = field(default_factory=list)

    @property
    def store(self) -> SqliteStore:
        return self.services.store

    @property
    def intake(self) -> MediaIntake:
        return self.services.intake

    def create(self, body: object, *, key: str = "any", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"x-dashscope-async": "enable", "authorization": f"Bearer {key}"} | named
        return self.client.post(CREATE, json=body, headers=sent)

    def create_id(self, body: object, **options: str) -> str:
        answer = self.create(body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()["output"]["task_id"]

    def get(self, task_id: str, key: str = "any") -> dict:
        answer = self.client.get(f"/api/v1/tasks/{task_id}", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def finish(self, task_id: str, data: bytes = b"a clip's bytes", notice: str = "") -> Task:
        """Play the engine: claim the task and publish a file for it."""
        (claim,) = self.store.claim([task_id], "engine", 60.0)
        artifact = self.services.artifacts.put_bytes(clip_key(task_id, claim.fence), data)
        stages = {"text": 0.1, "denoise": 0.5, "decode": 0.2, "mux": 0.1, "publish": 0.1}
        task = self.store.publish(task_id, "engine", claim.fence, artifact, stages, notice)
        assert task is not None
        return task


@contextmanager
def serving(settings: Settings) -> Iterator[Live]:
    """A server with these settings on a free port of its own."""
    secret = server_secret(settings)
    store = SqliteStore(settings.sqlite_file)
    artifacts = open_artifacts(settings, secret)
    kicked: list[str] = []
    served = ServedModel(preset("pico"))
    cost = settings.cost_model(served)
    moderation = open_moderation(settings.moderation)
    intake = MediaIntake(settings, store, artifacts, cost, "intake-test", kicked.append, moderation)
    keys = KeyRing(settings.keys_file, secret)
    backlog = Backlog(store, settings.store.max_queued)
    services = Services(settings, served, store, artifacts, keys, cost, kicked.append, intake, backlog, moderation)
    server = uvicorn.Server(uvicorn.Config(create_app(services), port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            yield Live(url, services, client, kicked)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        store.close()


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**groups: object) -> Settings:
        return Settings(**({"data_dir": str(tmp_path), "engine": {"preset": "pico"}} | groups))

    return make


@pytest.fixture
def live(make_settings: Callable[..., Settings]) -> Iterator[Live]:
    with serving(make_settings()) as server:
        yield server


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One server for all tests of a file in which nothing is ever accepted."""
    home = tmp_path_factory.mktemp("refusing")
    with serving(Settings(data_dir=str(home), engine={"preset": "pico"})) as server:
        yield server


@pytest.fixture(scope="session")
def serve_settings() -> Callable[[Settings], object]:
    """`with serve_settings(settings) as live`: for fixtures that live longer than a test."""
    return serving


@pytest.fixture
def serve_with(make_settings: Callable[..., Settings]) -> Callable[..., object]:
    """A server with other settings: `with serve_with(store={...}) as live`."""
    return lambda **groups: serving(make_settings(**groups))


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Bytes of a plain picture of some size and format."""

    def make(width: int = 400, height: int = 320, kind: str = "PNG") -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (200, 120, 40)).save(buffer, kind)
        return buffer.getvalue()

    return make


@pytest.fixture
def hosted():
    """A server of files given by path, and its host:port; a value of None redirects to a private address.

    Unknown paths are 404; /slow takes 0.3 s.
    """
    files = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in files:
                self.send_error(404)
                return
            data = files[self.path]
            if self.path == "/slow":
                time.sleep(0.3)
            if data is None:
                self.send_response(302)
                self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield files, f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def video() -> Callable[..., bytes]:
    """Bytes of a small MP4: a changing grey picture, with a silent sound track or none."""

    @functools.cache
    def make(seconds: float = 3.2, rate: int = 10, size: tuple[int, int] = (480, 360), sound: bool = True) -> bytes:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as container:
            pictures = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
            pictures.width, pictures.height = size
            track = container.add_stream("aac", rate=48000, layout="stereo") if sound else None
            for index in range(round(seconds * rate)):
                grey = np.full((size[1], size[0], 3), index * 5 % 256, np.uint8)
                container.mux(pictures.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
            container.mux(pictures.encode(None))
            if track is not None:
                samples = np.zeros((2, round(seconds * 48000)), np.float32)
                frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
                frame.rate = 48000
                container.mux(track.encode(frame))
                container.mux(track.encode(None))
        return buffer.getvalue()

    return make
