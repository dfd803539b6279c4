"""A scripted HTTP server on loopback, for the client: real sockets, answers in the order a test wrote them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest


@dataclass
class Answer:
    """What to answer; `drop` closes the connection without a word, `announce` is a Content-Length that is not kept."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    announce: int | None = None

    def payload(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Received:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ScriptedServer:
    """Answers of `on` are used up in order; the last one repeats."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        self.received: list[Received] = []
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[method, path] = list(answers)

    def start(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _next(self, method: str, path: str) -> Answer:
        answers = self.answers.get((method, path))
        if not answers:
            return Answer({"code": "NotFound", "message": f"no script for {method} {path}"}, 404)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _handler(script) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                query = dict(parse_qsl(parts.query))
                script.received.append(Received(self.command, parts.path, query, headers, body))
                answer = script._next(self.command, parts.path)
                if answer.drop:
                    return
                payload = answer.payload()
                self.send_response(answer.status)
                length = len(payload) if answer.announce is None else answer.announce
                for name, value in {"Content-Length": str(length), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = _serve

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in os.environ:
        if name.startswith("HHRAY_"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    yield running
    running.stop()


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


@pytest.fixture
def task_answer() -> Any:
    """Makes a query answer: task_answer("RUNNING", progress=0.5)."""

    def make(state: str, task_id: str = "t-1", **output: Any) -> Answer:
        return Answer({"request_id": "r-1", "output": {"task_id": task_id, "task_status": state, **output}})

    return make
