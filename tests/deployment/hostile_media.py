"""A media server that does everything a media server should not, on loopback, and hostile files to go with it.

Only tests that list its host:port in `media.allowed_private` reach it. Paths:

    /file/NAME     the file of that name, under the content type image/png, whatever it is
    /to?URL        redirects to URL
    /loop          redirects to itself
    /endless       never stops sending
    /drip          a byte every 0.1 s, for ever
    /silent        some bytes, then nothing, with the connection kept open
    /long          sends less than its Content-Length says, and closes
    /packed        a small gzip body that unpacks to 50 MB (Content-Encoding: gzip)
    /huge          says that it has 10 GB
"""

from __future__ import annotations

import contextlib
import gzip
import io
import ssl
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from PIL import Image


@dataclass
class HostileServer:
    """`files` by name; `seen` collects the paths asked for."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hostile: HostileServer

    def do_GET(self):
        self.hostile.seen.append(self.path)
        self.close_connection = True
        path, _, query = self.path.partition("?")
        kind, _, name = path.strip("/").partition("/")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # whoever asked had enough
            if kind == "file":
                self.head(200, len(self.hostile.files[name]))
                self.wfile.write(self.hostile.files[name])
            else:
                getattr(self, kind)(unquote(query))

    def head(self, status, length=None, **headers):
        self.send_response(status)
        named = {"content-type": "image/png"} | {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {} if length is None else {"content-length": str(length)}
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()

    def to(self, url):
        self.head(302, 0, location=url)

    def loop(self, _):
        self.head(302, 0, location="/loop")

    def endless(self, _):
        self.head(200)
        while not self.hostile.stop.is_set():
            self.wfile.write(bytes(10_000))

    def drip(self, _):
        self.head(200, 100_000)
        while not self.hostile.stop.wait(0.1):
            self.wfile.write(b"\x89")
            self.wfile.flush()

    def silent(self, _):
        self.head(200, 100_000)
        self.wfile.write(b"\x89PNG")
        self.wfile.flush()
        self.hostile.stop.wait(20)

    def long(self, _):
        self.head(200, 1000)
        self.wfile.write(b"short")

    def packed(self, _):
        body = self.hostile.files["packed"]
        self.head(200, len(body), content_encoding="gzip")
        self.wfile.write(body)

    def huge(self, _):
        self.head(200, 10_000_000_000)
        self.hostile.stop.wait(20)

    def log_message(self, *args):
        pass


@contextmanager
def hostile_server(certificate: Path | None = None) -> Iterator[HostileServer]:
    """A running one; with a certificate (PEM with its key) it speaks TLS."""
    hostile = HostileServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hostile": hostile}))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    hostile.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hostile
    finally:
        hostile.stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG of 8-bit RGB whose rows unpack from `data`."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def patched(data: bytes, kind: bytes, offset: int, new: bytes, occurrence: int = 0) -> bytes:
    """An MP4 with other bytes `offset` bytes into the content of its box of this kind."""
    at = -1
    for _ in range(occurrence + 1):
        at = data.index(kind, at + 1)
    begin = at + 4 + offset
    return data[:begin] + new + data[begin + len(new) :]


def ten_hours(video: bytes) -> bytes:
    """The same MP4, whose movie header says that it lasts ten hours."""
    at = video.index(b"mvhd") + 4
    scale = int.from_bytes(video[at + 12 : at + 16])
    return patched(video, b"mvhd", 16, struct.pack(">I", 36_000 * scale))


def elsewhere(video: bytes) -> bytes:
    """The same MP4, whose picture track says that its data lies in another file."""
    return patched(video, b"dref", 16, bytes(4))


def photograph(size: tuple[int, int] = (400, 320)) -> bytes:
    """A JPEG that says where and with what it was taken, lying on its side."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "SECRETMAKER", 6
    exif.get_ifd(0x8825)[1] = "N"
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(
        buffer, "JPEG", exif=exif, comment=b"SECRETCOMMENT", icc_profile=b"SECRETPROFILE" * 20
    )
    return buffer.getvalue()


def hostile_files(video: bytes) -> dict[str, bytes]:
    """Files by name, made from a good MP4 where they pose as one."""
    return {
        "wide.png": png(9_000, 9_000, zlib.compress(bytes(1000))),
        "packed": gzip.compress(bytes(50_000_000), 1),
        "deep.png": png(400, 400, zlib.compress(bytes(60_000_000), 9)),
        "page.png": b"<!DOCTYPE html><html><body>log in</body></html>",
        "drawing.png": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "film.png": video,
        "text.png": b"no picture at all",
        "list.mp4": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "script.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "dash.mp4": b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/</BaseURL></MPD>',
        "hours.mp4": ten_hours(video),
        "elsewhere.mp4": elsewhere(video),
        "tracks.mp4": many_tracks(video, 40),
        "pixels.mp4": patched(video, b"stsd", 40, struct.pack(">HH", 65_535, 65_535)),
        "pictures.mp4": patched(video, b"stsz", 8, struct.pack(">I", 4_000_000)),
        "half.mp4": video[: len(video) // 2],
    }


def many_tracks(video: bytes, count: int) -> bytes:
    """The MP4 with its last track header again and again."""
    moov, trak = video.index(b"moov") - 4, video.rindex(b"trak") - 4
    end = trak + int.from_bytes(video[trak : trak + 4])
    size = int.from_bytes(video[moov : moov + 4]) + (end - trak) * count
    return video[:moov] + struct.pack(">I", size) + video[moov + 4 : end] + video[trak:end] * count + video[end:]
