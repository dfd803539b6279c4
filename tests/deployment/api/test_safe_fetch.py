"""Downloads, from real local servers that misbehave."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deployment import safe_fetch
from hhray.errors import MediaError


class Misbehaving(BaseHTTPRequestHandler):
    """Answers by path; `elsewhere` is another server's port, `seen` collects (path, Host, Cookie)."""

    protocol_version = "HTTP/1.1"
    elsewhere = 0
    seen: list[tuple[str, str, str]]

    def do_GET(self):
        self.seen.append((self.path, self.headers["host"], self.headers.get("cookie", "")))
        name = self.path.strip("/").partition("/")[0]
        getattr(self, f"answer_{name}", self.answer_missing)()

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer_good(self):
        self.reply(200, b"picture")

    def answer_missing(self):
        self.reply(404, b"an internal page")

    def answer_empty(self):
        self.reply(204)

    def answer_relative(self):
        self.reply(302, location="/good", set_cookie="a=b")

    def answer_loop(self):
        self.reply(302, location="/loop")

    def answer_metadata(self):
        self.reply(302, location="http://169.254.169.254/latest/meta-data/")

    def answer_otherport(self):
        self.reply(307, location=f"http://127.0.0.1:{self.elsewhere}/good")

    def answer_tofile(self):
        self.reply(302, location="file:///etc/passwd")

    def answer_tonothing(self):
        self.reply(302, location="http://[")

    def answer_lying(self):
        """Says nothing of its length and never ends."""
        self.send_response(200)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for _ in range(1000):
            self.wfile.write(bytes(10_000))

    def answer_long(self):
        self.send_response(200)
        self.send_header("content-length", "40000000")
        self.end_headers()
        for _ in range(400):
            self.wfile.write(bytes(100_000))

    def answer_packed(self):
        self.reply(200, b"\x1f\x8bpacked", content_encoding="gzip")

    def answer_slowbody(self):
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.drip(b"x", 50)

    def answer_slowhead(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.drip(b"a: b\r\n", 50)

    def drip(self, drop, count):
        self.close_connection = True
        for _ in range(count):
            self.wfile.write(drop)
            self.wfile.flush()
            time.sleep(0.05)

    def answer_cut(self):
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b"short")
        self.close_connection = True

    def handle(self):
        # the client had enough: what most of these tests are about
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().handle()

    def log_message(self, *args):
        pass


@pytest.fixture
def start():
    servers = []

    def begin(elsewhere=0):
        handler = type("Handler", (Misbehaving,), {"elsewhere": elsewhere, "seen": []})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        servers.append((server, thread))
        return server.server_address[1], handler.seen

    yield begin
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(port, path, **options):
    allowed = options.pop("allowed", (f"127.0.0.1:{port}",))
    return fetch_named(f"http://127.0.0.1:{port}/{path}", allowed_private=allowed, **({"max_redirects": 3} | options))


def fetch_named(
    url, *, max_bytes=1000, timeout_seconds=5.0, max_redirects=0, allowed_private=(), ports=(80, 443), idle_seconds=5.0
):
    limits = safe_fetch.FetchLimits(max_bytes, timeout_seconds, max_redirects, allowed_private, ports, idle_seconds)
    body = bytearray()
    safe_fetch.fetch(url, body.extend, limits)
    return bytes(body)


def refusal(*args, code="BadRequest.InputDownloadFailed", **options):
    with pytest.raises(MediaError) as caught:
        fetch(*args, **options)
    assert caught.value.code == code
    return caught.value.message


def test_a_file_and_a_redirect_on_the_same_server_arrive(start):
    port, seen = start()
    assert fetch(port, "good") == b"picture"
    assert fetch(port, "relative") == b"picture"
    assert seen[-1] == ("/good", f"127.0.0.1:{port}", "")  # the cookie of the first hop is not carried over


def test_a_private_address_is_refused_before_any_connection(start):
    port, seen = start()
    assert "public address" in refusal(port, "good", allowed=())
    assert seen == []


def test_redirects_to_private_addresses_are_refused(start):
    inner_port, inner_seen = start()
    port, _ = start(elsewhere=inner_port)
    for path in ("metadata", "otherport", "tofile"):
        message = refusal(port, path)
        assert "redirects to an address that is not allowed" in message
        assert "169.254" not in message
        assert str(inner_port) not in message
    assert inner_seen == []
    assert "not allowed" in refusal(port, "tonothing")


def test_redirects_are_counted(start):
    port, seen = start()
    assert "more than 3 times" in refusal(port, "loop")
    assert len(seen) == 4


def test_a_file_is_cut_off_at_the_limit_whatever_the_server_says(start):
    port, _ = start()
    assert "at most 1000 bytes" in refusal(port, "lying", code="BadRequest.TooLarge")
    assert fetch(port, "good", max_bytes=7) == b"picture"
    refusal(port, "good", max_bytes=6, code="BadRequest.TooLarge")


def test_a_long_file_is_never_in_memory(start, tmp_path):
    port, _ = start()
    limits = safe_fetch.FetchLimits(40_000_000, 20.0, 0, (f"127.0.0.1:{port}",))
    tracemalloc.start()
    try:
        with (tmp_path / "file").open("wb") as file:
            safe_fetch.fetch(f"http://127.0.0.1:{port}/long", file.write, limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "file").stat().st_size == 40_000_000
    assert peak < 4_000_000


def test_a_compressed_answer_is_never_unpacked_but_refused(start):
    port, _ = start()
    assert "sends the file compressed" in refusal(port, "packed")


@pytest.mark.parametrize("path", ["slowbody", "slowhead"])
def test_one_deadline_covers_a_server_that_drips(start, path):
    port, _ = start()
    began = time.monotonic()
    assert "longer than 0.4 seconds" in refusal(port, path, timeout_seconds=0.4)
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize(("path", "status"), [("missing", 404), ("empty", 204)])
def test_only_200_is_taken_and_no_page_is_repeated(start, path, status):
    port, _ = start()
    message = refusal(port, path)
    assert f"status {status}, expected 200" in message
    assert "internal page" not in message


def test_a_broken_connection_or_none_is_said_plainly(start):
    port, _ = start()
    assert "broke the connection" in refusal(port, "cut")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "no connection" in refusal(unused.getsockname()[1], "good")


def test_a_name_that_does_not_exist_is_said_plainly():
    with pytest.raises(MediaError, match="cannot be resolved"):
        fetch_named("http://no-such-host.invalid/", timeout_seconds=20.0)


# --- names: the resolver is the one part a test cannot run for real


def resolving(monkeypatch, *addresses):
    """Let pictures.test resolve to these addresses; returns the list of names asked for."""
    asked, real = [], socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        if host != "pictures.test":
            return real(host, port, *args, **kwargs)
        asked.append(host)
        return [entry for address in addresses for entry in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize(
    "addresses", [("127.0.0.1",), ("93.184.216.34", "10.0.0.7"), ("::ffff:127.0.0.1",), ("fe80::1",)]
)
def test_a_name_with_any_private_address_is_refused_without_naming_it(start, monkeypatch, addresses):
    port, seen = start()
    resolving(monkeypatch, *addresses)
    with pytest.raises(MediaError, match="not on the public internet") as caught:
        fetch_named(f"http://pictures.test:{port}/good", allowed_private=(f"127.0.0.1:{port}",), ports=(port,))
    assert addresses[-1] not in caught.value.message
    assert seen == []


def test_the_connection_goes_to_the_address_that_was_judged_with_the_names_host_header(start, monkeypatch):
    port, seen = start()
    asked = resolving(monkeypatch, "127.0.0.1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert fetch_named(f"http://pictures.test:{port}/good", allowed_private=(f"pictures.test:{port}",)) == b"picture"
    assert seen == [("/good", f"pictures.test:{port}", "")]
    assert asked == ["pictures.test"]


def test_an_address_that_does_not_answer_is_followed_by_the_next(start, monkeypatch):
    port, _ = start()
    resolving(monkeypatch, "127.0.0.77", "127.0.0.1")
    assert fetch_named(f"http://pictures.test:{port}/good", allowed_private=(f"pictures.test:{port}",)) == b"picture"


def test_tls_asks_for_the_name_and_not_for_the_address(monkeypatch):
    resolving(monkeypatch, "127.0.0.1")
    hellos = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                hellos.append(connection.recv(4096))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        with pytest.raises(MediaError, match="no connection"):
            fetch_named(f"https://pictures.test:{port}/good", allowed_private=(f"pictures.test:{port}",))
        thread.join()
    assert b"pictures.test" in hellos[0]
