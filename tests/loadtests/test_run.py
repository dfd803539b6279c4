"""Locust itself against a tiny server that speaks the dialect: tasks succeed 0.2 s after they were created."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loadtests.run import main

CLIP = b"\x00\x00\x00\x18ftypisom" + b"0" * 1000


class TinyServer(ThreadingHTTPServer):
    """`fail_every`: every n-th task FAILS; `refuse_every`: every n-th create is answered 429."""

    def __init__(self, seconds: float = 0.2, fail_every: int = 0, refuse_every: int = 0) -> None:
        self.seconds, self.fail_every, self.refuse_every = seconds, fail_every, refuse_every
        self.created: dict[str, tuple[float, int]] = {}
        self.creates: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.downloads = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def create(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            self.creates.append((body, headers))
            number = len(self.creates)
            if self.refuse_every and number % self.refuse_every == 0:
                return 429, {"code": "Throttling", "message": "later"}
            task_id = str(uuid.uuid4())
            self.created[task_id] = (time.monotonic(), number)
        return 200, {"output": {"task_id": task_id, "task_status": "PENDING"}}

    def query(self, task_id: str) -> dict[str, Any]:
        born, number = self.created[task_id]
        if time.monotonic() - born < self.seconds:
            return {"task_id": task_id, "task_status": "RUNNING"}
        if self.fail_every and number % self.fail_every == 0:
            return {"task_id": task_id, "task_status": "FAILED", "code": "InternalError", "message": "no"}
        return {"task_id": task_id, "task_status": "SUCCEEDED", "video_url": f"{self.url}/artifacts/{task_id}.mp4"}


class Handler(BaseHTTPRequestHandler):
    server: TinyServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer(*self.server.create(body, {name.lower(): value for name, value in self.headers.items()}))

    def do_GET(self) -> None:
        if self.path.startswith("/artifacts/"):
            with self.server.lock:
                self.server.downloads += 1
            self._answer(200, CLIP)
        else:
            self._answer(200, {"output": self.server.query(self.path.rsplit("/", 1)[-1])})

    def _answer(self, status: int, body: Any) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Any]:
    running: list[tuple[TinyServer, threading.Thread]] = []

    def start(**options: Any) -> TinyServer:
        server = TinyServer(**options)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def test_users_make_clips_and_the_summary_adds_up(serve, capfd):
    server = serve()
    options = ["--seconds", "4", "--users", "3", "--json", "--api-key", "hh-key"]
    assert main(["--host", server.url, *options]) == 0
    captured = capfd.readouterr()
    [line] = captured.out.splitlines()
    summary = json.loads(line)
    assert summary["errors"] == {}
    assert summary["num_failed"] == 0
    assert summary["num_clips"] >= 3
    assert summary["num_clips"] <= server.downloads <= summary["num_clips"] + summary["num_unfinished"]
    assert summary["num_clips"] + summary["num_unfinished"] <= len(server.created)
    assert 1.0 < summary["elapsed_seconds"] < 10.0
    assert 0.2 < summary["p50_seconds"] <= summary["p95_seconds"] <= summary["p99_seconds"] < 4.0
    assert summary["clips_per_hour"] == pytest.approx(summary["num_clips"] * 3600 / summary["elapsed_seconds"])
    assert "clips/h" in captured.err
    assert "CLIP" in captured.err, "every clip is an entry of its own in Locust's table"
    body, headers = server.creates[0]
    assert headers["authorization"] == "Bearer hh-key"
    assert headers["x-dashscope-async"] == "enable"
    assert len({headers["idempotency-key"] for _, headers in server.creates}) == len(server.creates)
    assert body["model"].startswith("happyhorse-1.")


def test_errors_failed_clips_and_unfinished_clips_are_reported(serve, capfd):
    server = serve(seconds=0.3, fail_every=3, refuse_every=4)
    options = ["--seconds", "3", "--users", "3", "--json", "--resolution", "720P", "--duration", "5"]
    assert main(["--host", server.url, *options]) == 1
    summary = json.loads(capfd.readouterr().out)
    assert summary["errors"]["create: HTTP 429"] >= 1
    assert summary["errors"]["task FAILED InternalError"] == summary["num_failed"] >= 1
    shapes = {(body["parameters"]["resolution"], body["parameters"]["duration"]) for body, _ in server.creates}
    assert shapes == {("720P", 5)}


def test_tasks_that_never_end_are_unfinished_and_the_run_is_not_good(serve, capfd):
    server = serve(seconds=1000.0)
    assert main(["--host", server.url, "--seconds", "2", "--users", "2", "--json"]) == 1
    summary = json.loads(capfd.readouterr().out)
    assert (summary["num_clips"], summary["num_unfinished"], summary["errors"]) == (0, 2, {})
    assert summary["p50_seconds"] is None
