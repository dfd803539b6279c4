"""Several media of one task, and videos, from create to a claimable task or a FAILED one."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from deployment.artifacts import input_key
from hhray.geometry import Ratio

R2V, EDIT = "happyhorse-1.0-r2v", "happyhorse-1.0-video-edit"


def body(model, *media, **parameters):
    items = [{"type": kind, "url": url} for kind, url in media]
    given = {"prompt": "it runs", "media": items}
    return {"model": model, "input": given, "parameters": {"resolution": "256P", **parameters}}


def pixels(data):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return image.size, image.tobytes()


def data_uri(data):
    return "data:image/png;base64," + base64.b64encode(data).decode()


@pytest.fixture
def served(serve_with, hosted):
    """A server that may fetch from the server of files; and that one's files and address."""
    files, host = hosted
    with serve_with(media={"allowed_private": (host,)}) as live:
        yield live, files, f"http://{host}"


def test_references_inside_the_request_and_by_url_end_up_in_their_order(served, picture):
    live, files, host = served
    files["/b"] = picture(400, 900)
    inside, last = picture(500, 500), picture(640, 480)
    media = [("reference_image", url) for url in (data_uri(inside), f"{host}/b", data_uri(last))]
    task_id = live.create_id(body(R2V, *media, ratio="9:16", duration=4))
    assert live.store.queued() == []
    assert live.intake.run_once()
    task = live.store.get(task_id)
    assert (task.ready, task.request.ratio, task.request.duration) == (True, Ratio.R9_16, 4)
    assert [media.key for media in task.request.media] == [input_key(task_id, index, "local") for index in range(3)]
    stored = [live.services.artifacts.local_path(media.key).read_bytes() for media in task.request.media]
    given = [inside, files["/b"], last]
    assert [pixels(data) for data in stored] == [pixels(data) for data in given]
    assert live.kicked == [task_id]


def test_a_video_gives_its_length_and_ratio(served, picture, video):
    live, files, host = served
    files["/v"], files["/p"] = video(seconds=3.2, size=(480, 360)), picture(300, 700)
    task_id = live.create_id(
        body(EDIT, ("reference_image", f"{host}/p"), ("video", f"{host}/v"), audio_setting="origin")
    )
    assert live.intake.run_once()
    task = live.store.get(task_id)
    assert task.ready, task.error_message
    request = task.request
    assert (request.ratio, request.duration, request.source_seconds) == (Ratio.R4_3, 4, pytest.approx(3.2, abs=0.01))
    assert request.output_seconds == request.source_seconds
    assert task.gpu_seconds == pytest.approx(live.services.cost.gpu_seconds(request.geometry))
    stored = live.services.artifacts.local_path(input_key(task_id, 1, "local")).read_bytes()
    assert len(stored) == len(files["/v"])
    assert stored[: stored.index(b"moov")] == files["/v"][: files["/v"].index(b"moov")]  # the media itself
    live.finish(task_id)
    assert live.get(task_id)["usage"]["duration"] == pytest.approx(6.4, abs=0.02)


BAD_MEDIA = {
    "a reference too small": (
        (R2V, ("reference_image", "/p400"), ("reference_image", "/p399")),
        "InvalidParameter",
        "input.media[1].url: expected a picture of at least 400x400 pixels, but it is 399x400",
    ),
    "a reference that is not there": (
        (R2V, ("reference_image", "/p400"), ("reference_image", "/p400"), ("reference_image", "/gone")),
        "BadRequest.InputDownloadFailed",
        "input.media[2].url: Failed to download the input file: ",
    ),
    "a picture beside the video": (
        (EDIT, ("video", "/v"), ("reference_image", "/text")),
        "BadRequest.UnsupportedFileFormat",
        "input.media[1].url: the picture cannot be read",
    ),
    "a video that is a picture": (
        (EDIT, ("reference_image", "/p400"), ("video", "/p400")),
        "BadRequest.UnsupportedFileFormat",
        "input.media[1].url: ",
    ),
    "a video cut short": ((EDIT, ("video", "/half")), "BadRequest.UnsupportedFileFormat", "input.media[0].url: "),
    "a short video": ((EDIT, ("video", "/short")), "InvalidParameter", "a video of 3 to 60 seconds, but it has 2.00"),
    "no sound to keep": (
        (EDIT, ("video", "/silent")),
        "InvalidParameter",
        'parameters.audio_setting: expected "auto" for a video without a sound track, got "origin".',
    ),
}


@pytest.mark.parametrize("name", BAD_MEDIA)
def test_a_bad_file_among_several_ends_the_task_with_its_own_path_and_leaves_none(served, picture, video, name):
    (model, *media), code, part = BAD_MEDIA[name]
    live, files, host = served
    files |= {"/p400": picture(400, 400), "/p399": picture(399, 400), "/text": b"text", "/v": video()}
    files |= {"/half": video()[: len(video()) // 2], "/short": video(seconds=2.0), "/silent": video(sound=False)}
    asked = body(model, *((kind, host + path) for kind, path in media), audio_setting="origin")
    task_id = live.create_id(asked)
    assert live.intake.run_once()
    output = live.get(task_id)["output"]
    assert (output["task_status"], output["code"]) == ("FAILED", code)
    assert part in output["message"]
    assert not live.services.artifacts.local_path(input_key(task_id, 0, "local")).parent.exists()
    assert live.kicked == []


def test_videos_and_pictures_have_limits_of_their_own(serve_with, hosted, picture, video):
    files, host = hosted
    files["/v"], files["/p"] = video(), picture(300, 300) + bytes(len(video()))
    limits = {"max_bytes": len(video()) - 1, "max_video_bytes": len(video())}
    with serve_with(media={"allowed_private": (host,)} | limits) as live:
        fit = live.create_id(body(EDIT, ("video", f"http://{host}/v")))
        unfit = live.create_id(body(EDIT, ("video", f"http://{host}/v"), ("reference_image", f"http://{host}/p")))
        while live.intake.run_once():
            pass
        assert live.store.get(fit).ready
        output = live.get(unfit)["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "BadRequest.TooLarge")
        assert output["message"].startswith(f"input.media[1].url: expected a file of at most {len(video()) - 1} bytes")


def test_all_files_of_a_task_share_one_deadline(serve_with, hosted, picture):
    files, host = hosted
    files["/slow"] = picture(400, 400)
    with serve_with(media={"allowed_private": (host,), "task_timeout_seconds": 1.5}) as live:
        media = [("reference_image", f"http://{host}/slow")] * 9
        task_id = live.create_id(body(R2V, *media))
        assert live.intake.run_once()
        output = live.get(task_id)["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "BadRequest.InputDownloadFailed")
        assert "the download took longer than" in output["message"]
        assert not output["message"].startswith(("input.media[0]", "input.media[8]"))
