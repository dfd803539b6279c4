"""Downloads of a finished clip, by plain HTTP clients: ranges, preconditions, expiry and tampering over both stores."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from deployment.artifacts import DirectoryArtifacts, open_artifacts
from deployment.web.ranges import span_of
from hhray.settings import Settings

DATA = bytes(range(256)) * 10


@pytest.fixture(params=["directory", "proxied"])
def clip(request, serve_with, s3_server, tmp_path):
    """A server, its task and the URL of its clip."""
    store = {}
    if request.param == "proxied":
        s3_server.gate.reset()
        store = s3_server.settings(tmp_path, gated=True, url_style="proxied").to_args()["store"]
    with serve_with(store=store) as live:
        task = live.finish(live.create_id({"model": "happyhorse-1.0-t2v", "input": {"prompt": "x"}}), DATA)
        yield live, task, live.get(task.task_id)["output"]["video_url"]


def test_a_clip_is_served_whole_or_in_part(clip):
    _, task, url = clip
    with httpx.Client(trust_env=False) as client:
        whole, head = client.get(url), client.head(url)
        assert (whole.status_code, whole.content) == (200, DATA)
        assert whole.headers["content-disposition"] == f'attachment; filename="clips-{task.task_id}.mp4"'
        assert whole.headers["content-type"] == "video/mp4"
        assert whole.headers["accept-ranges"] == "bytes"
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "2560")
        part = client.get(url, headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, DATA[10:20])
        assert part.headers["content-range"] == "bytes 10-19/2560"
        assert client.get(url, headers={"range": "bytes=-5"}).content == DATA[-5:]
        beyond = client.get(url, headers={"range": "bytes=2560-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */2560")
        etag = whole.headers["etag"]
        same = client.get(url, headers={"range": "bytes=0-9", "if-range": etag})
        other = client.get(url, headers={"range": "bytes=0-9", "if-range": '"another"'})
        assert (same.status_code, other.status_code) == (206, 200)
        assert client.get(url, headers={"if-none-match": etag}).status_code == 304


def test_an_altered_an_expired_and_a_gone_url_are_refused(clip):
    live, task, url = clip
    with httpx.Client(trust_env=False) as client:
        for altered in (url[:-1] + ("0" if url[-1] != "0" else "1"), url.replace("/1.mp4", "/2.mp4"), url + "0"):
            answer = client.get(altered)
            assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
        late = live.url + live.services.artifacts.signed_path(task.artifact_key, 60, time.time() - 61)
        assert client.get(late).status_code == 403
        live.services.artifacts.delete_task(task.task_id, task.tenant)
        live.services.artifacts.delete(task.artifact_key)
        assert client.get(url).status_code == 404


def test_a_presigned_url_is_the_stores_own_and_ends_with_the_task(serve_with, s3_server, tmp_path):
    store = s3_server.settings(tmp_path).to_args()["store"]
    with serve_with(store={**store, "task_ttl_seconds": 600}) as live:
        task = live.finish(live.create_id({"model": "happyhorse-1.0-t2v", "input": {"prompt": "x"}}), DATA)
        url = live.get(task.task_id)["output"]["video_url"]
        fields = parse_qs(urlsplit(url).query)
        assert url.startswith(s3_server.url)
        assert 500 < int(fields["X-Amz-Expires"][0]) <= task.expires_at - time.time() + 1
        part = httpx.get(url, headers={"range": "bytes=10-19"}, trust_env=False)
        assert (part.status_code, part.content, part.headers["content-type"]) == (206, DATA[10:20], "video/mp4")
        assert task.task_id in part.headers["content-disposition"]


def test_no_url_lives_longer_than_seven_days(s3_server, tmp_path):
    week, key = 7 * 86400, "clips/00000000-0000-0000-0000-000000000007/1.mp4"
    now = time.time()
    url = open_artifacts(s3_server.settings(tmp_path), b"s").download_url(key, 30 * 86400, now, "http://here")
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == [str(week)]
    url = DirectoryArtifacts(tmp_path, b"s").download_url(key, 30 * 86400, now, "http://here")
    assert parse_qs(urlsplit(url).query)["Expires"] == [str(int(now + week))]


def test_presigned_urls_name_the_address_that_clients_reach(s3_server, tmp_path):
    settings: Settings = s3_server.settings(tmp_path, s3={"public_endpoint": "https://files.example"})
    artifacts = open_artifacts(settings, b"s")
    key = artifacts.put_bytes("clips/00000000-0000-0000-0000-000000000007/1.mp4", b"x").key
    assert artifacts.download_url(key, 60, time.time(), "").startswith("https://files.example/")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", (206, 0, 1)),
        ("bytes=95-200", (206, 95, 100)),
        ("bytes=-200", (206, 0, 100)),
        ("bytes=-0", (416, 0, 0)),
        ("bytes=100-", (416, 0, 0)),
        ("bytes=5-4", (200, 0, 100)),
        ("bytes=-", (200, 0, 100)),
        ("bytes=0-1,5-6", (200, 0, 100)),
        ("lines=0-1", (200, 0, 100)),
        ("bytes=\u0661-", (200, 0, 100)),
        ("bytes=" + "9" * 400 + "-", (200, 0, 100)),
    ],
)
def test_ranges_by_the_letter(asked, expected):
    from deployment.artifacts import FileFacts

    span = span_of({"range": asked}, "GET", FileFacts(100, '"e"', 0.0))
    assert (span.status, span.start, span.end) == expected
    assert span_of({"range": asked}, "HEAD", FileFacts(100, '"e"', 0.0)).status == 200
