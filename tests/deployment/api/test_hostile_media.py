"""Everything a media server or a file can do to the intake, through the API: its sentence, within its time limit."""

from __future__ import annotations

import base64
import io
import shutil
import socket
import subprocess
import threading
import time
from functools import cache

import pytest
from PIL import Image

from deployment.artifacts import input_key
from deployment.outbound import trusted_authorities
from deployment.safe_fetch import FetchLimits, fetch
from hhray.errors import MediaError
from hhray.settings import Settings
from hostile_media import hostile_files, hostile_server, photograph

LIMITS = {"timeout_seconds": 15.0, "task_timeout_seconds": 15.0, "max_bytes": 300_000}
IN_TIME = 20.0  # seconds: a download, a reader's start, and a busy machine
DOWNLOAD, KIND, LARGE = "BadRequest.InputDownloadFailed", "BadRequest.UnsupportedFileFormat", "BadRequest.TooLarge"
FORBIDDEN = "redirects to an address that is not allowed"

SERVERS = {
    "/loop": (DOWNLOAD, "the server redirects more than 3 times"),
    "/endless": (LARGE, "expected a file of at most 300000 bytes; it is larger"),
    "/huge": (LARGE, "expected a file of at most 300000 bytes; it is larger"),
    "/long": (DOWNLOAD, "the server broke the connection"),
    "/packed": (DOWNLOAD, "the server sends the file compressed (Content-Encoding), though it was asked not to"),
    "/to?http://127.0.0.1:1/": (DOWNLOAD, FORBIDDEN),
    "/to?http://169.254.169.254/latest/meta-data/": (DOWNLOAD, FORBIDDEN),
    "/to?http://[::ffff:127.0.0.1]/": (DOWNLOAD, FORBIDDEN),
    "/to?http://[64:ff9b::7f00:1]/": (DOWNLOAD, FORBIDDEN),
    "/to?http://2130706433/": (DOWNLOAD, FORBIDDEN),
    "/to?http://user@public.example/": (DOWNLOAD, FORBIDDEN),
    "/to?http://public.example:6379/": (DOWNLOAD, FORBIDDEN),
    "/to?file:///etc/passwd": (DOWNLOAD, FORBIDDEN),
    "/to?gopher://public.example/": (DOWNLOAD, FORBIDDEN),
}
PICTURES = {
    "wide.png": (LARGE, "the picture has too many 9000x9000 pixels"),
    "deep.png": (LARGE, "the picture unpacks to more than its width and height need"),
    "page.png": (KIND, "this is an HTML or XML page; send an undamaged JPEG, PNG or WEBP file"),
    "drawing.png": (KIND, "this is an SVG drawing; send"),
    "film.png": (KIND, "this is an MP4 or MOV video; send"),
    "text.png": (KIND, "the picture cannot be read; send an undamaged JPEG, PNG or WEBP file"),
}
VIDEOS = {
    "list.mp4": (KIND, "this is an HLS playlist, which names other files; send an undamaged MP4 or MOV file"),
    "script.mp4": (KIND, "this is a concat script, which names other files; send"),
    "dash.mp4": (KIND, "this is a DASH manifest, which names other files; send"),
    "hours.mp4": (LARGE, "the video lasts 36000 seconds; send one of at most 60 seconds"),
    "elsewhere.mp4": (KIND, "the video refers to data in other files; send one that holds all of it"),
    "tracks.mp4": (LARGE, "the video has more than 16 tracks"),
    "pixels.mp4": (LARGE, "the video is 65535x65535; send at most"),
    "pictures.mp4": (LARGE, "the video has 4000000 pictures; send one of at most 14400"),
    "half.mp4": (KIND, "send"),
}
LITERALS = {
    "http://127.0.0.1/": "public address",
    "http://0x7f.1/": "public address",
    "http://0177.0.0.1/": "of the form https://host/path",
    "http://2130706433/": "public address",
    "http://127.1/": "public address",
    "http://[::1]/": "public address",
    "http://[::ffff:7f00:1]/": "public address",
    "http://[::ffff:169.254.169.254]/": "public address",
    "http://[64:ff9b::a00:1]/": "public address",
    "http://[2002:7f00:1::]/": "public address",
    "http://100.64.0.1/": "public address",
    "http://224.0.0.1/": "public address",
    "http://localhost/": "public address",
    "http://public.example@127.0.0.1/": "without user name and password",
    "https://public.example:22/": "port 80 or 443",
    "ftp://public.example/": "http:// or https://",
}


@pytest.fixture(scope="module")
def hostile(video):
    with hostile_server() as server:
        server.files |= hostile_files(video())
        yield server


@pytest.fixture(scope="module")
def reached(hostile, serve_settings, tmp_path_factory):
    """A server of ours that may fetch from the hostile one, and from nothing else inside."""
    home = tmp_path_factory.mktemp("hostile")
    media = LIMITS | {"allowed_private": (hostile.host,)}
    with serve_settings(Settings(data_dir=str(home), engine={"preset": "pico"}, media=media)) as live:
        yield live


def asked(kind, url):
    model = "happyhorse-1.0-video-edit" if kind == "video" else "happyhorse-1.0-i2v"
    media = [{"type": kind, "url": url}]
    return {"model": model, "input": {"prompt": "it runs", "media": media}, "parameters": {"resolution": "256P"}}


def outcome(live, kind, url):
    """The output of a task that the intake has looked at, which may not take it long."""
    task_id = live.create_id(asked(kind, url))
    began = time.monotonic()
    assert live.intake.run_once()
    assert time.monotonic() - began < IN_TIME
    return live.get(task_id)["output"]


def check_refused(live, kind, url, code, part):
    output = outcome(live, kind, url)
    assert (output["task_status"], output["code"]) == ("FAILED", code), output
    assert part in output["message"]
    assert output["message"].startswith("input.media[0].url: ")
    assert not live.services.artifacts.local_path(input_key(output["task_id"], 0, "local")).parent.exists()


@pytest.mark.parametrize("path", SERVERS)
def test_a_hostile_server_is_left_in_time_and_with_its_sentence(reached, hostile, path):
    check_refused(reached, "first_frame", f"http://{hostile.host}{path}", *SERVERS[path])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/drip", "the download took longer than 1 seconds"),
        ("/silent", "the server sent nothing for 0.5 seconds"),
    ],
)
def test_a_server_that_keeps_us_waiting_is_left_in_time(serve_with, hostile, path, said):
    slow = {"timeout_seconds": 1.0, "idle_seconds": 0.5, "max_bytes": 1_000_000}
    with serve_with(media=slow | {"allowed_private": (hostile.host,)}) as live:
        began = time.monotonic()
        output = outcome(live, "first_frame", f"http://{hostile.host}{path}")
        assert time.monotonic() - began < IN_TIME
        assert (output["task_status"], output["code"]) == ("FAILED", DOWNLOAD)
        assert said in output["message"]


@pytest.mark.parametrize("name", PICTURES)
def test_a_hostile_picture_is_refused_by_its_content_whatever_its_type_says(reached, hostile, name):
    check_refused(reached, "first_frame", f"http://{hostile.host}/file/{name}", *PICTURES[name])


@pytest.mark.parametrize("name", ["wide.png", "deep.png", "drawing.png"])
def test_the_same_inside_the_request(reached, hostile, name):
    uri = "data:image/png;base64," + base64.b64encode(hostile.files[name]).decode()
    check_refused(reached, "first_frame", uri, *PICTURES[name])


@pytest.mark.parametrize("name", VIDEOS)
def test_a_hostile_video_is_refused_before_it_is_decoded(reached, hostile, name):
    check_refused(reached, "video", f"http://{hostile.host}/file/{name}", *VIDEOS[name])


@pytest.mark.parametrize("url", LITERALS)
def test_an_address_inside_is_refused_at_create_in_any_spelling(reached, url):
    answer = reached.create(asked("first_frame", url))
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidURL")
    assert LITERALS[url] in answer.json()["message"]


def resolving(monkeypatch, *answers):
    """Let hostile.test resolve to the first of these lists of addresses, then to the next; returns the questions."""
    asked_for, real = [], socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        if host != "hostile.test":
            return real(host, port, *args, **kwargs)
        asked_for.append(host)
        addresses = answers[min(len(asked_for), len(answers)) - 1]
        return [entry for address in addresses for entry in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked_for


def fetch_from(url, *, ports, **limits):
    body = bytearray()
    fetch(url, body.extend, FetchLimits(1000, 3.0, 3, ports=ports, idle_seconds=0.5, **limits))
    return bytes(body)


def test_a_name_that_leads_inside_after_it_was_checked_is_not_asked_again(hostile, monkeypatch):
    # 192.0.0.1 and its like are refused; an address of the public internet that nobody answers at from here
    asked_for = resolving(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])
    before = len(hostile.seen)
    with pytest.raises(MediaError, match=r"no connection|sent nothing|took longer"):
        fetch_from(f"http://hostile.test:{hostile.port}/file/page.png", ports=(hostile.port,))
    assert asked_for == ["hostile.test"]
    assert len(hostile.seen) == before


def test_a_name_with_one_address_inside_is_refused(hostile, monkeypatch):
    resolving(monkeypatch, ["93.184.215.14", "127.0.0.1"])
    before = len(hostile.seen)
    with pytest.raises(MediaError, match="not on the public internet"):
        fetch_from(f"http://hostile.test:{hostile.port}/file/page.png", ports=(hostile.port,))
    assert len(hostile.seen) == before


def test_a_redirect_to_a_name_that_leads_inside_is_refused(hostile, monkeypatch):
    resolving(monkeypatch, ["10.0.0.7"])
    with pytest.raises(MediaError, match="not on the public internet"):
        fetch_from(f"http://{hostile.host}/to?http://hostile.test/a", ports=(80,), allowed_private=(hostile.host,))


def test_a_name_server_that_does_not_answer_takes_no_longer_than_a_download_may(monkeypatch):
    real, answered = socket.getaddrinfo, threading.Event()

    def resolve(host, *args, **kwargs):
        if host != "hostile.test":
            return real(host, *args, **kwargs)
        answered.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    began = time.monotonic()
    with pytest.raises(MediaError, match=r"took longer than 0\.5 seconds"):
        fetch("http://hostile.test/", bytearray().extend, FetchLimits(1000, 0.5, 3))
    assert time.monotonic() - began < 5
    answered.set()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_a_redirect_from_https_to_http_is_refused(hostile, monkeypatch, tmp_path):
    key, certificate, both = tmp_path / "key", tmp_path / "certificate", tmp_path / "both"
    made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=hostile.test",
        "-days",
        "2",
    ]
    named = ["-addext", "subjectAltName=DNS:hostile.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *made, *named], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    monkeypatch.setattr("certifi.where", lambda: str(certificate))  # trusted as any other is
    trusting = cache(trusted_authorities.__wrapped__)
    monkeypatch.setattr("deployment.outbound.trusted_authorities", trusting)
    resolving(monkeypatch, ["127.0.0.1"])
    with hostile_server(both) as secure:
        place = f"hostile.test:{secure.port}"
        with pytest.raises(MediaError, match="redirects from https to http"):
            fetch_from(f"https://{place}/to?http://{hostile.host}/", ports=(), allowed_private=(place, hostile.host))
        assert secure.seen == [f"/to?http://{hostile.host}/"]


def test_nothing_but_upright_pixels_is_kept_of_a_photograph(reached, hostile):
    hostile.files["photo.jpg"] = given = photograph()
    output = outcome(reached, "first_frame", f"http://{hostile.host}/file/photo.jpg")
    assert output["task_status"] == "PENDING", output
    stored = reached.services.artifacts.local_path(input_key(output["task_id"], 0, "local")).read_bytes()
    assert b"SECRET" in given
    assert b"SECRET" not in stored
    assert b"Exif" not in stored
    with Image.open(io.BytesIO(stored)) as image:
        assert (image.size, image.info) == ((320, 400), {})
        assert image.getpixel((10, 5)) != image.getpixel((310, 5))  # what was above is on the right: it stands upright
        assert image.getpixel((160, 5)) == image.getpixel((160, 395))


def test_no_name_title_or_date_is_kept_of_a_video(reached, hostile, tagged_video):
    hostile.files["tagged.mp4"] = tagged_video
    output = outcome(reached, "video", f"http://{hostile.host}/file/tagged.mp4")
    assert output["task_status"] == "PENDING", output
    stored = reached.services.artifacts.local_path(input_key(output["task_id"], 0, "local")).read_bytes()
    assert len(stored) == len(tagged_video)
    for mark in (b"SECRETMAKER", b"SECRETTITLE"):
        assert mark in tagged_video
        assert mark not in stored
    at = tagged_video.index(b"mvhd") + 8
    assert tagged_video[at : at + 8] != bytes(8)
    assert stored[at : at + 8] == bytes(8)


@pytest.fixture
def tagged_video(video):
    """A good MP4 with a maker, a title and a date in it."""
    import av

    buffer = io.BytesIO()
    with av.open(io.BytesIO(video())) as source, av.open(buffer, "w", format="mp4") as target:
        target.metadata.update(artist="SECRETMAKER", title="SECRETTITLE", creation_time="2026-01-02T03:04:05Z")
        copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    return buffer.getvalue()
