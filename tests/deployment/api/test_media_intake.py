"""From a create with a picture to a claimable task, or a FAILED one."""

from __future__ import annotations

import base64
import functools
import io
import struct
import threading
import time
import zlib

import pytest
from PIL import Image

from deployment.artifacts import input_key
from hhray.errors import StoreUnavailable
from hhray.geometry import Ratio
from same_pixels import same_pixels


def i2v(url):
    return {
        "model": "happyhorse-1.0-i2v",
        "input": {"prompt": "it runs", "media": [{"type": "first_frame", "url": url}]},
        "parameters": {"resolution": "256P", "duration": 3},
    }


def data_uri(data, kind="png"):
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


def png_header(width, height):
    """A PNG whose header claims a size, with hardly any data behind it."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_picture_that_came_along_makes_the_task_claimable(live, picture):
    task_id = live.create_id(i2v(data_uri(picture(330, 440))))
    assert live.store.queued() == []
    assert live.kicked == []
    assert live.intake.run_once()
    assert not live.intake.run_once()
    assert live.kicked == [task_id]
    task = live.store.get(task_id)
    assert (task.ready, task.request.ratio) == (True, Ratio.R3_4)
    assert task.request.media[0].key == input_key(task_id, 0, "local")
    assert task.gpu_seconds == pytest.approx(live.services.cost.gpu_seconds(task.request.geometry))
    assert same_pixels(
        live.services.artifacts.local_path(input_key(task_id, 0, "local")).read_bytes(), picture(330, 440)
    )
    assert [queued.task_id for queued in live.store.queued()] == [task_id]


def test_a_picture_is_taken_in_by_an_s3_store_and_no_copy_stays_on_this_machine(
    serve_with, s3_server, picture, tmp_path
):
    store = s3_server.settings(tmp_path).to_args()["store"]
    with serve_with(store=store) as live:
        task_id = live.create_id(i2v(data_uri(picture(330, 440))))
        assert live.intake.run_once()
        task = live.store.get(task_id)
        assert (task.ready, task.request.ratio) == (True, Ratio.R3_4)
        key = input_key(task_id, 0, "local")
        assert task.request.media[0].key == key
        assert same_pixels(b"".join(live.services.artifacts.read(key, 0, 1 << 20)), picture(330, 440))
        left = [path for path in live.services.settings.scratch_dir.rglob("*") if path.suffix != ".lock"]
        assert [path for path in left if path.is_file()] == []
        assert not live.services.settings.artifact_dir.exists()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_at_a_url_is_brought_in(serve_with, hosted, picture, kind):
    files, host = hosted
    files["/a"] = picture(400, 320, kind)
    with serve_with(media={"allowed_private": (host,)}) as live:
        task_id = live.create_id(i2v(f"http://{host}/a"))
        assert live.intake.run_once()
        task = live.store.get(task_id)
        assert (task.ready, task.request.ratio) == (True, Ratio.R5_4)
        assert task.request.media[0].url == f"http://{host}/a"
        assert same_pixels(live.services.artifacts.local_path(input_key(task_id, 0, "local")).read_bytes(), files["/a"])


def test_a_picture_turned_by_its_exif_counts_as_it_is_seen(live):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (800, 450)).save(buffer, "JPEG", exif=exif)
    task_id = live.create_id(i2v(data_uri(buffer.getvalue(), "jpeg")))
    assert live.intake.run_once()
    assert live.store.get(task_id).request.ratio is Ratio.R9_16


UNSUPPORTED = "BadRequest.UnsupportedFileFormat"
BAD_FILES = {
    "no image": (lambda picture: b"<html>not found</html>", UNSUPPORTED, "picture cannot be read"),
    "gif": (lambda picture: picture(400, 400, "GIF"), UNSUPPORTED, "JPEG, PNG or WEBP"),
    "bmp": (lambda picture: picture(400, 400, "BMP"), UNSUPPORTED, "JPEG, PNG or WEBP"),
    "cut short": (lambda picture: picture(400, 400, "JPEG")[:600], UNSUPPORTED, "undamaged"),
    "20,000 x 20,000 pixels": (lambda picture: png_header(20_000, 20_000), "BadRequest.TooLarge", "pixels"),
    "too narrow": (lambda picture: picture(299, 400), "InvalidParameter", "at least 300x300 pixels, but it is 299x400"),
    "too low": (lambda picture: picture(400, 299), "InvalidParameter", "at least 300x300"),
    "too long": (lambda picture: picture(760, 303), "InvalidParameter", "aspect ratio from 1:2.5 to 2.5:1"),
    "too tall": (lambda picture: picture(303, 760), "InvalidParameter", "aspect ratio from 1:2.5 to 2.5:1"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_picture_ends_the_task_failed_and_leaves_no_file(live, picture, name):
    make, code, part = BAD_FILES[name]
    task_id = live.create_id(i2v(data_uri(make(picture))))
    assert live.intake.run_once()
    output = live.get(task_id)["output"]
    assert (output["task_status"], output["code"]) == ("FAILED", code)
    assert output["message"].startswith("input.media[0].url: ")
    assert part in output["message"]
    assert not live.services.artifacts.local_path(input_key(task_id, 0, "local")).exists()
    assert live.kicked == []
    assert live.store.depth().queued == 0


def test_a_download_that_fails_ends_the_task_failed(serve_with, hosted):
    files, host = hosted
    files["/away"] = None
    files["/large"] = bytes(2000)
    with serve_with(media={"allowed_private": (host, "127.0.0.1:1"), "max_bytes": 1000, "max_redirects": 0}) as live:
        expected = {
            f"http://{host}/away": ("BadRequest.InputDownloadFailed", "redirects more than 0 times"),
            f"http://{host}/large": ("BadRequest.TooLarge", "at most 1000 bytes"),
            "http://127.0.0.1:1/unreachable": ("BadRequest.InputDownloadFailed", "no connection"),
            "http://no-such-host.invalid/a.png": ("BadRequest.InputDownloadFailed", "cannot be resolved"),
        }
        ids = {url: live.create_id(i2v(url)) for url in expected}
        while live.intake.run_once():
            pass
        for url, (code, part) in expected.items():
            output = live.get(ids[url])["output"]
            assert (output["task_status"], output["code"]) == ("FAILED", code), url
            assert part in output["message"]


def test_a_redirect_to_a_private_address_ends_the_task_failed(serve_with, hosted):
    files, host = hosted
    files["/away"] = None
    with serve_with(media={"allowed_private": (host,)}) as live:
        task_id = live.create_id(i2v(f"http://{host}/away"))
        assert live.intake.run_once()
        output = live.get(task_id)["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "BadRequest.InputDownloadFailed")
        assert "redirects to an address that is not allowed" in output["message"]
        assert "127.0.0.1" not in output["message"]


def test_a_cancel_during_the_intake_wins(live, picture):
    task_id = live.create_id(i2v(data_uri(picture())))
    assert live.client.post(f"/api/v1/tasks/{task_id}/cancel").status_code == 200
    live.intake.run_once()
    assert live.get(task_id)["output"]["task_status"] == "CANCELED"
    assert live.kicked == []


def test_the_loop_works_on_a_hint_survives_a_fault_and_stops(live, picture, monkeypatch, caplog):
    real, faults = live.store.claim_media, iter([True])

    def claim_media(*args):
        if next(faults, False):
            raise StoreUnavailable("the disk is away for a moment")
        return real(*args)

    monkeypatch.setattr(live.store, "claim_media", claim_media)
    stop = threading.Event()
    thread = threading.Thread(target=live.intake.serve, args=(stop,))
    thread.start()
    try:
        state = functools.partial(live.get, live.create_id(i2v(data_uri(picture()))))
        task_id = state()["output"]["task_id"]
        deadline = time.monotonic() + 60
        while not live.store.get(task_id).ready and time.monotonic() < deadline:
            time.sleep(0.01)
        assert live.store.get(task_id).ready
    finally:
        stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()
    assert "trying again" in caplog.text


def test_a_picture_that_trips_our_code_fails_its_task_and_no_other(live, picture, monkeypatch, caplog):
    task_id = live.create_id(i2v(data_uri(picture())))
    monkeypatch.setattr("deployment.intake.with_picture", lambda request, size: 1 / 0)
    assert live.intake.run_once()
    output = live.get(task_id)["output"]
    assert (output["task_status"], output["code"]) == ("FAILED", "InternalError")
    assert "could not be handled" in caplog.text
