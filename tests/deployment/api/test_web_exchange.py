"""What holds for every exchange: ids, error shape, downloads, health, metrics."""

from __future__ import annotations

import asyncio
import re
import uuid

import httpx
import pytest
from fastapi import FastAPI

from deployment.keys import create_key, server_secret
from deployment.web.naming import RequestNaming
from hhray.tasks import EngineRecord

T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "x"}, "parameters": {"duration": 3}}
FLAT = {"code", "message", "request_id"}


def test_a_harmless_request_id_of_the_client_is_kept(refusing):
    answer = refusing.client.get("/api/v1/tasks", headers={"x-request-id": "trace_7-a"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "trace_7-a"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "<script>", 'a"b'])
def test_any_other_request_id_is_replaced(refusing, given):
    answer = refusing.client.get("/api/v1/tasks", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert uuid.UUID(answer.json()["request_id"]).version == 4


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/api/v1/models", "/api/v1/tasks/a/b/c"])
def test_an_unknown_path_is_404_in_the_flat_shape(refusing, path):
    answer = refusing.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")
    assert set(answer.json()) == FLAT
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_a_wrong_method_is_405_in_the_flat_shape(refusing):
    answer = refusing.client.delete("/api/v1/tasks")
    assert (answer.status_code, set(answer.json())) == (405, FLAT)
    assert answer.headers["allow"] == "GET"


async def _through_naming(adds_header: bool) -> httpx.Response:
    app = FastAPI()

    @app.get("/")
    def broken() -> None:
        raise ZeroDivisionError("a secret detail")

    app.add_middleware(RequestNaming, adds_header=adds_header)
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/")


def test_a_bug_is_a_neutral_500_with_the_id_that_the_log_has(caplog):
    answer = asyncio.run(_through_naming(adds_header=True))
    assert (answer.status_code, answer.json()["code"], set(answer.json())) == (500, "InternalError", FLAT)
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert answer.json()["request_id"] in caplog.text
    assert "a secret detail" in caplog.text


def test_below_a_naming_proxy_the_header_is_left_to_it():
    answer = asyncio.run(_through_naming(adds_header=False))
    assert "x-request-id" not in answer.headers
    assert uuid.UUID(answer.json()["request_id"])


# --- downloads


def video_url(live, data=b"0123456789"):
    task_id = live.create_id(T2V)
    live.finish(task_id, data)
    return live.get(task_id)["output"]["video_url"]


def test_a_signed_url_downloads_without_a_key_whole_or_in_part(live):
    url = video_url(live)
    answer = httpx.get(url, trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert answer.headers["content-type"] == "video/mp4"
    assert re.fullmatch(r'attachment; filename="clips-[0-9a-f-]{36}\.mp4"', answer.headers["content-disposition"])
    part = httpx.get(url, headers={"range": "bytes=2-4"}, trust_env=False)
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert httpx.head(url, trust_env=False).headers["content-length"] == "10"


def test_an_altered_or_expired_url_is_denied(live):
    url = httpx.URL(video_url(live))
    signature = url.params["Signature"]
    for changed in (
        url.copy_remove_param("Signature"),
        url.copy_remove_param("Expires"),
        url.copy_set_param("Signature", signature[:-1] + ("0" if signature[-1] != "0" else "1")),
        url.copy_set_param("Signature", "\u00e9"),
        url.copy_set_param("Expires", str(int(url.params["Expires"]) + 1)),
        url.copy_set_param("Expires", "99999999999999999999"),
        url.copy_set_param("Expires", "never"),
        url.copy_with(path=url.path.replace("1.mp4", "2.mp4")),
        url.copy_with(path="/artifacts/../secret"),
        url.copy_with(raw_path=b"/artifacts/..%2F..%2Fsecret?" + url.query),
    ):
        answer = live.client.get(changed)
        assert answer.status_code in (403, 404)
        assert answer.json()["code"] in ("AccessDenied", "NotFound")
        assert set(answer.json()) == FLAT


def test_an_expired_url_is_denied(serve_with):
    with serve_with(store={"url_ttl_seconds": 0.001}) as live:
        answer = live.client.get(video_url(live))
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
        assert "expired" in answer.json()["message"]


def test_a_file_that_is_gone_is_404(live):
    url = video_url(live)
    live.services.artifacts.delete_task(url.split("/")[5])
    answer = live.client.get(url)
    assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")


def test_download_urls_use_the_host_the_client_called_or_the_configured_one(live, serve_with, tmp_path):
    task_id = live.create_id(T2V)
    live.finish(task_id)
    path = f"/api/v1/tasks/{task_id}"
    settings = live.services.settings  # other names than localhost are for servers with keys
    key = create_key(settings.keys_file, server_secret(settings), "local", False)
    bearer = {"authorization": f"Bearer {key}"}
    called = live.client.get(path, headers={"host": "video.example:8443", **bearer}).json()["output"]["video_url"]
    assert called.startswith("http://video.example:8443/artifacts/")
    hostile = live.client.get(path, headers={"host": "a.example/x?", **bearer}).json()["output"]["video_url"]
    assert hostile.startswith("http://127.0.0.1:8000/artifacts/")
    with serve_with(http={"public_url": "https://clips.example/"}) as other:
        url = other.client.get(path, headers=bearer).json()["output"]["video_url"]
        assert url.startswith("https://clips.example/artifacts/clips/")


# --- health and metrics


def test_healthz_tells_what_runs(live):
    live.create_id(T2V)
    health = live.client.get("/healthz").json()
    assert (health["status"], health["checkpoint"]) == ("ok", "pico")
    assert (health["engines"], health["warm"], health["queued"], health["running"]) == (0, False, 1, 0)
    live.store.heartbeat(EngineRecord("engine-1", 2, "pico", "starting"))
    assert live.client.get("/healthz").json()["warm"] is False
    live.store.heartbeat(EngineRecord("engine-1", 2, "pico", "ready"))
    health = live.client.get("/healthz").json()
    assert (health["engines"], health["warm"]) == (1, True)


def test_healthz_tells_the_attention_kernels_and_the_arithmetic(live):
    assert live.client.get("/healthz").json()["attention"] == {}
    kernels = {"bfloat16 on cuda, 40 heads over 8 of 128": "torch cudnn"}
    facts = {"pid": 1, "attention": kernels, "arithmetic": "float8"}
    live.store.heartbeat(EngineRecord("engine-1", 1, "15b", "ready", detail=facts))
    health = live.client.get("/healthz").json()
    assert (health["attention"], health["arithmetic"]) == (kernels, ["float8"])


def test_healthz_tells_which_ranks_are_suspect(live):
    assert live.client.get("/healthz").json()["suspects"] == []
    suspect = {"kind": "rank", "name": "1", "strikes": 2, "last": "rank 1 died"}
    detail = {"node": "gpu-7", "suspects": [suspect]}
    live.store.heartbeat(EngineRecord("engine-1", 2, "pico", "quarantined", detail=detail))
    health = live.client.get("/healthz").json()
    assert health["suspects"] == [{"engine": "engine-1", "node": "gpu-7", **suspect}]
    assert health["warm"], "it works on where it is the only one"


def test_metrics_count_every_finished_clip(live):
    for _ in range(3):
        live.finish(live.create_id(T2V))
    answer = live.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    counts = re.findall(r'^hhray_clip_seconds_count\{.*outcome="succeeded".*\} (\S+)$', answer.text, re.M)
    assert [float(count) for count in counts] == [3.0]
