"""The unmodified openai package, sync and async, against this server: no engine but the test itself."""

from __future__ import annotations

import asyncio
import io

import httpx
import openai
import pytest
from PIL import Image

from hhray.tasks import EngineRecord
from playing_engine import finishing
from same_pixels import same_pixels

# The package marks every method of its videos API as deprecated, as the hosted service behind it was shut down.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


def client_of(live):
    return openai.OpenAI(base_url=f"{live.url}/v1", api_key="sk-test", max_retries=0)


@pytest.fixture
def client(live):
    with client_of(live) as made:
        yield made


@pytest.fixture
def engine(live, video):
    """Finishes every task with a real clip."""
    clip = video(3.0, 10, (480, 360))
    with finishing(live, clip):
        yield clip


def test_text_to_video_is_created_polled_downloaded_in_each_variant_and_deleted(live, client, engine):
    video = client.videos.create_and_poll(prompt="a horse 马", seconds="4", size="1280x720", poll_interval_ms=30)
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (video.model, video.seconds, video.size) == ("happyhorse-1.1-t2v", "4", "1280x720")
    assert video.created_at <= video.completed_at <= video.expires_at
    assert client.videos.download_content(video.id).read() == engine
    thumbnail = Image.open(io.BytesIO(client.videos.download_content(video.id, variant="thumbnail").read()))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (512, 384))
    sheet = Image.open(io.BytesIO(client.videos.download_content(video.id, variant="spritesheet").read()))
    assert (sheet.format, sheet.size) == ("JPEG", (5 * 256, 4 * 192))
    # the clip of the fixture grows brighter with every frame, and so do the cells of the sheet
    cells = [sheet.convert("L").getpixel((at % 5 * 256 + 128, at // 5 * 192 + 96)) for at in range(20)]
    assert cells == sorted(cells)
    assert cells[0] < 10
    assert cells[-1] > 100
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (video.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError, match="There is no such video") as refused:
        client.videos.retrieve(video.id)
    assert refused.value.code == "not_found"
    assert not [path for path in live.services.settings.artifact_dir.rglob("*") if path.is_file()]


def test_a_local_picture_begins_the_clip(live, client, engine, picture, tmp_path):
    path = tmp_path / "first frame.png"
    path.write_bytes(picture(400, 400))
    video = client.videos.create_and_poll(
        prompt="it waves", model="happyhorse-1.0-i2v", input_reference=path, size="720P", poll_interval_ms=30
    )
    assert (video.status, video.model, video.size) == ("completed", "happyhorse-1.0-i2v", "960x960")
    task = live.store.get(video.id)
    assert [item.type for item in task.request.media] == ["first_frame"]
    stored = live.services.artifacts.local_path(task.request.media[0].key)
    assert same_pixels(stored.read_bytes(), path.read_bytes())


def test_references_and_an_edit_come_through_extra_fields(serve_with, picture, video, hosted):
    files, place = hosted
    files["/a.png"], files["/b.png"] = picture(500, 500), picture(600, 500)
    media = [{"type": "reference_image", "url": f"http://{place}/{name}.png"} for name in "ab"]
    with (
        serve_with(media={"allowed_private": [place]}) as live,
        finishing(live, b"a clip"),
        client_of(live) as client,
    ):
        made = client.videos.create_and_poll(
            prompt="[Image 2] waves at [Image 1]",
            model="happyhorse-1.0-r2v",
            extra_body={"metadata": {"ratio": "9:16", "watermark": False, "input": {"media": media}}, "seed": 7},
            poll_interval_ms=30,
        )
        assert (made.status, made.size) == ("completed", "1080x1920")
        request = live.store.get(made.id).request
        assert (request.mode, request.seed, request.watermark) == ("r2v", 7, False)
        assert [item.url for item in request.media] == [item["url"] for item in media]

        source = ("source.mp4", video(3.2), "video/mp4")
        edited = client.videos.edit(prompt="make it snow", video=source, extra_body={"audio_setting": "origin"})
        edited = client.videos.poll(edited.id, poll_interval_ms=30)
        assert (edited.status, edited.model) == ("completed", "happyhorse-1.0-video-edit")
        assert (edited.seconds, edited.size) == ("3.2", "1648x1248")
        assert live.store.get(edited.id).request.audio_setting == "origin"


def test_a_completed_video_is_remixed_and_edited_by_its_id(live, client, engine, video):
    first = client.videos.create_and_poll(prompt="a horse", seconds="3", extra_body={"seed": 7}, poll_interval_ms=30)
    remixed = client.videos.remix(first.id, prompt="a zebra")
    assert (remixed.remixed_from_video_id, remixed.prompt, remixed.seconds) == (first.id, "a zebra", "3")
    before, after = (live.store.get(video_id).request for video_id in (first.id, remixed.id))
    assert after == before.model_copy(update={"prompt": "a zebra", "remix_of": first.id})
    body = {"prompt": "make it snow", "video": {"id": first.id}}
    edited = live.client.post("/v1/videos/edits", json=body).json()
    assert edited["model"] == "happyhorse-1.0-video-edit"
    assert client.videos.poll(edited["id"], poll_interval_ms=30).status == "completed"


def test_list_pages_through_all_videos_in_both_orders(live, client):
    ids = [client.videos.create(prompt=f"horse {number}").id for number in range(5)]
    assert [video.id for video in client.videos.list(limit=2)] == ids[::-1]
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == ids
    page = client.videos.list(limit=2, after=ids[3])
    assert ([video.id for video in page.data], page.has_more) == ([ids[2], ids[1]], True)
    with pytest.raises(openai.BadRequestError, match="after: expected the id of a video of yours"):
        client.videos.list(after="video_123")


def test_our_sentences_arrive_in_the_packages_errors(client):
    with pytest.raises(openai.BadRequestError, match=r"size: expected 256P, .* or exactly one of 448x256") as refused:
        client.videos.create(prompt="a horse", size="1024x1792")
    assert (refused.value.code, refused.value.param, refused.value.type) == (
        "invalid_value",
        "size",
        "invalid_request_error",
    )
    with pytest.raises(openai.BadRequestError, match="seconds: expected an integer from 3 to 15, got 16") as refused:
        client.videos.create(prompt="a horse", seconds="16")
    assert refused.value.param == "seconds"
    with pytest.raises(openai.BadRequestError, match="Model not exist"):
        client.videos.create(prompt="a horse", model="sora-2")
    with pytest.raises(openai.NotFoundError, match="neither extends videos nor keeps characters"):
        client.videos.extend(prompt="on", seconds="4", video=("a.mp4", b"x"))


def test_the_server_says_when_to_look_again(live, client):
    made = client.videos.with_raw_response.create(prompt="a horse", size="256P", seconds="3")
    assert made.headers["openai-poll-after-ms"] == "2000"  # nothing is known yet
    live.store.heartbeat(EngineRecord("engine", 2, "pico", "ready"))
    raw = client.videos.with_raw_response.retrieve(made.parse().id)
    body = raw.http_response.json()
    assert int(raw.headers["openai-poll-after-ms"]) == pytest.approx(max(250, 1000 * body["eta_seconds"] / 8), abs=10)
    assert body["eta_error_seconds"] > 0
    assert body["queue_position"] == 0


def test_the_async_client_does_the_same(live, engine, picture):
    async def drive():
        async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="sk-test", max_retries=0) as client:
            poll = {"poll_interval_ms": 30}
            made = client.videos.create_and_poll(prompt="a horse", seconds="3", size="256P", **poll)
            first = ("a.png", picture(), "image/png")
            from_picture = client.videos.create_and_poll(prompt="it waves", input_reference=first, seconds="3", **poll)
            made, from_picture = await asyncio.gather(made, from_picture)
            assert (made.status, from_picture.status) == ("completed", "completed")
            assert from_picture.model == "happyhorse-1.1-i2v"
            assert (await client.videos.download_content(made.id)).read() == engine
            listed = [video.id async for video in client.videos.list(limit=1)]
            assert set(listed) == {made.id, from_picture.id}
            assert (await client.videos.delete(made.id)).deleted
            with pytest.raises(openai.NotFoundError):
                await client.videos.retrieve(made.id)

    asyncio.run(drive())


def test_deleting_stops_what_waits_and_what_runs(live, client):
    waits, runs = (client.videos.create(prompt="a horse").id for _ in range(2))
    (claim,) = live.store.claim([runs], "engine", 60.0)
    for video_id in (waits, runs):
        assert client.videos.delete(video_id).deleted
        with pytest.raises(openai.NotFoundError):
            client.videos.delete(video_id)
    assert list(client.videos.list()) == []
    assert live.store.get(waits) is None
    assert live.store.get(runs).cancel_requested
    assert live.store.cancel_running(runs, "engine", claim.fence, {})
    assert live.store.expire() == [(runs, "local")]


def test_a_cancelled_and_a_failed_task_say_why(live, client):
    cancelled, failed = (client.videos.create(prompt="a horse").id for _ in range(2))
    live.store.cancel_pending(cancelled, None)
    (claim,) = live.store.claim([failed], "engine", 60.0)
    live.store.fail(failed, "engine", claim.fence, "DataInspectionFailed", "input.media[0].url: not this one.", {})
    video = client.videos.retrieve(cancelled)
    assert (video.status, video.error.code) == ("failed", "cancelled")
    video = client.videos.retrieve(failed)
    assert (video.status, video.error.code) == ("failed", "data_inspection_failed")
    assert video.error.message == "input_reference: not this one."
    with pytest.raises(openai.NotFoundError, match="expected status completed, but it is failed"):
        client.videos.download_content(failed)


def test_a_signed_url_and_byte_ranges(live, client, engine):
    video = client.videos.create_and_poll(prompt="a horse", poll_interval_ms=30)
    assert httpx.get(video.url, trust_env=False).content == engine
    part = live.client.get(f"/v1/videos/{video.id}/content", headers={"range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, engine[4:12])
    assert live.client.head(f"/v1/videos/{video.id}/content").headers["content-length"] == str(len(engine))
