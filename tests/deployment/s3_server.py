"""An S3-compatible server on loopback, and a gate before it that can make it fail as real ones do."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from moto.server import ThreadedMotoServer

from hhray.settings import Settings

BUCKET = "hhray-tests"
KEY_ID, SECRET_KEY = "AKIATESTSKEYID", "the secret of the tests' store"


class S3Server:
    """moto's server, unmodified, with one bucket; `gate` is the address of what stands before it."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._moto.start()
        host, port = self._moto.get_host_and_port()
        self.url = f"http://{host}:{port}"
        httpx.put(f"{self.url}/{BUCKET}", trust_env=False).raise_for_status()
        self.gate = Gate(self.url)

    def settings(self, home: Path, *, gated: bool = False, **store: Any) -> Settings:
        """Settings of a server whose artifacts lie below a prefix of their own."""
        s3 = {
            "endpoint": self.gate.url if gated else self.url,
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET_KEY,
            **store.pop("s3", {}),
        }
        url = store.pop("artifact_url", f"s3://{BUCKET}/{uuid.uuid4()}")
        return Settings(data_dir=str(home), engine={"preset": "pico"}, store={"artifact_url": url, "s3": s3, **store})

    def close(self) -> None:
        self.gate.close()
        self._moto.stop()


CODES = {503: "SlowDown", 403: "InvalidAccessKeyId", 500: "InternalError", 404: "NoSuchBucket"}


class Gate:
    """Passes requests on to the store; `fault` says what goes wrong with those of `methods`:

    a status (the store refuses with its code), `drop` (once: it does what it is asked, and the connection breaks
    before the answer), `rot` (one byte of every answer is another), `slow` (it answers after `slow_seconds`).
    `seen` are the requests, each with its headers.
    """

    def __init__(self, behind: str) -> None:
        self.fault: int | str = 0
        self.methods = {"GET", "PUT", "HEAD", "DELETE"}
        self.slow_seconds = 1.5
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._behind = httpx.Client(base_url=behind, trust_env=False, timeout=30)
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                gate.handle(self)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def handle(self, one: BaseHTTPRequestHandler) -> None:
        body = one.rfile.read(int(one.headers.get("content-length") or 0))
        self.seen.append((one.command, one.path, {name.lower(): value for name, value in one.headers.items()}))
        fault = self.fault if one.command in self.methods else 0
        if isinstance(fault, int) and fault:
            told = f"<Error><Code>{CODES[fault]}</Code><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>".encode()
            self._answer(one, fault, {}, told)
            return
        sent = {name: value for name, value in one.headers.items() if name.lower() not in ("connection",)}
        answer = self._behind.request(one.command, one.path, headers=sent, content=body)
        if fault == "drop":
            self.fault = 0
            one.close_connection = True
            return
        if fault == "slow":
            time.sleep(self.slow_seconds)
        content = answer.content
        if fault == "rot" and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        kept = {n: v for n, v in answer.headers.items() if n.lower() not in ("connection", "transfer-encoding")}
        self._answer(one, answer.status_code, kept, content)

    @staticmethod
    def _answer(one: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes) -> None:
        try:
            one.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("server", "date", "content-length"):
                    one.send_header(name, value)
            length = headers.get("content-length", str(len(content))) if one.command == "HEAD" else str(len(content))
            one.send_header("content-length", length)
            one.end_headers()
            if one.command != "HEAD":
                one.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            one.close_connection = True  # who asked has gone

    def reset(self) -> None:
        self.fault, self.seen = 0, []
        self.methods = {"GET", "PUT", "HEAD", "DELETE"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._behind.close()
