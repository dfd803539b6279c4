"""Exact shapes of the answers to create, query, cancel and list."""

from __future__ import annotations

import base64
import re
import sqlite3
import uuid

import pytest

from hhray.geometry import Ratio
from hhray.marking import UNMARKED
from hhray.request import ClipRequest, Mode
from hhray.tasks import Progress

T2V = {
    "model": "happyhorse-1.0-t2v",
    "input": {"prompt": "a horse 马"},
    "parameters": {"resolution": "720P", "duration": 3, "seed": 7},
}
WIRE_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_create_answers_pending_with_an_id_and_hints_the_router(live):
    answer = live.create(T2V)
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"request_id", "output"}
    assert body["output"] == {"task_id": body["output"]["task_id"], "task_status": "PENDING"}
    assert UUID.fullmatch(body["output"]["task_id"])
    assert answer.headers["x-request-id"] == body["request_id"]
    assert live.kicked == [body["output"]["task_id"]]
    task = live.store.get(body["output"]["task_id"])
    assert (task.tenant, task.ready, task.request_id) == ("local", True, body["request_id"])
    assert task.gpu_seconds == pytest.approx(live.services.cost.gpu_seconds(task.request.geometry))


def test_create_is_served_with_a_trailing_slash(live):
    path = "/api/v1/services/aigc/video-generation/video-synthesis/"
    assert live.client.post(path, json=T2V, headers={"x-dashscope-async": "enable"}).status_code == 200


def test_an_idempotency_key_names_one_task(live, picture):
    first = live.create_id(T2V, idempotency_key="order-7")
    assert live.create_id(T2V, idempotency_key="order-7") == first
    assert live.create_id(T2V, idempotency_key="order-8") != first
    # the picture of a repeated create does not stay behind
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    body = {"model": "happyhorse-1.0-i2v", "input": {"media": [{"type": "first_frame", "url": url}]}}
    task_id = live.create_id(body, idempotency_key="order-9")
    assert live.create_id(body, idempotency_key="order-9") == task_id
    inputs = live.services.settings.artifact_dir / "inputs"
    assert [path.name for path in (inputs / "t-local").iterdir()] == [task_id]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_waiting_task_shows_its_place_in_the_queue(live, slash):
    live.create_id(T2V)
    task_id = live.create_id(T2V)
    output = live.client.get(f"/api/v1/tasks/{task_id}{slash}").json()["output"]
    assert WIRE_TIME.fullmatch(output.pop("submit_time"))
    assert output == {"task_id": task_id, "task_status": "PENDING", "progress": 0.0, "queue_position": 1}


def test_a_running_task_shows_progress_and_attempt(live):
    task_id = live.create_id(T2V)
    (claim,) = live.store.claim([task_id], "engine", 60.0)
    live.store.renew("engine", 60.0, {task_id: Progress(0.375, "denoise")})
    output = live.get(task_id)["output"]
    assert WIRE_TIME.fullmatch(output.pop("submit_time"))
    assert WIRE_TIME.fullmatch(output.pop("scheduled_time"))
    assert output == {
        **{"task_id": task_id, "task_status": "RUNNING", "progress": 0.375, "attempt": claim.fence},
        **{"step": 3, "steps": 8, "stage": "denoise"},
    }


def test_a_finished_task_has_the_hosted_apis_shape_and_ours(live):
    task_id = live.create_id(T2V)
    live.finish(task_id, notice="enlarged")
    body = live.get(task_id)
    assert set(body) == {"request_id", "output", "usage"}
    output = body["output"]
    for name in ("submit_time", "scheduled_time", "end_time"):
        assert WIRE_TIME.fullmatch(output[name])
    assert output["submit_time"] <= output["scheduled_time"] <= output["end_time"]
    assert set(output) == {
        *("task_id", "task_status", "submit_time", "scheduled_time", "end_time", "orig_prompt", "video_url"),
        *("progress", "attempt", "notice", "stages"),
    }
    assert (output["orig_prompt"], output["progress"], output["notice"]) == ("a horse 马", 1.0, "enlarged")
    assert {"queue_wait", "text", "denoise", "decode", "mux", "publish"} == set(output["stages"])
    assert output["video_url"].startswith(f"{live.url}/artifacts/clips/{task_id}/1.mp4?Expires=")
    assert body["usage"] == {
        **{"duration": 3, "input_video_duration": 0, "output_video_duration": 3, "video_count": 1},
        **{"SR": 720, "ratio": "16:9"},
    }
    assert all(type(body["usage"][name]) is int for name in body["usage"] if name != "ratio")


def test_a_finished_image_to_video_task_has_no_ratio_in_its_usage(live):
    task_id = live.create_id({"model": "happyhorse-1.0-i2v", "input": {"img_url": "https://pictures.example/1.png"}})
    claimed = live.store.claim_media("intake", 60.0, task_id)
    done = claimed.request.model_copy(update={"ratio": Ratio.R4_3})
    assert live.store.media_ready(task_id, "intake", done, 1.0)
    live.finish(task_id)
    assert set(live.get(task_id)["usage"]) == {
        "duration",
        "input_video_duration",
        "output_video_duration",
        "video_count",
        "SR",
    }


def finished_usage(live, model, media, **facts):
    """Create, play the intake (`facts` are what it found out), play the engine; returns the answer's usage."""
    task_id = live.create_id({"model": model, "input": {"prompt": "x", "media": media}, "parameters": {"duration": 4}})
    claimed = live.store.claim_media("intake", 60.0, task_id)
    assert live.store.media_ready(task_id, "intake", claimed.request.model_copy(update=facts), 1.0)
    live.finish(task_id)
    return live.get(task_id)["usage"]


def test_a_finished_reference_to_video_task_has_the_ratio_it_asked_for(live):
    media = [{"type": "reference_image", "url": "https://pictures.example/1.png"}]
    assert finished_usage(live, "happyhorse-1.1-r2v", media) == {
        **{"duration": 4, "input_video_duration": 0, "output_video_duration": 4, "video_count": 1},
        **{"SR": 1080, "ratio": "16:9"},
    }


@pytest.mark.parametrize(("seconds", "shown", "total"), [(6.62, 6.62, 13.24), (15.0, 15.0, 30.0), (7.004, 7.0, 14.0)])
def test_a_finished_edit_counts_the_seconds_of_both_videos_as_floats(live, seconds, shown, total):
    media = [{"type": "video", "url": "https://videos.example/1.mp4"}]
    usage = finished_usage(
        live, "happyhorse-1.0-video-edit", media, source_seconds=seconds, duration=-int(-seconds // 1)
    )
    assert usage == {
        **{"duration": total, "input_video_duration": shown, "output_video_duration": shown},
        **{"video_count": 1, "SR": 1080},
    }
    assert all(type(usage[name]) is float for name in usage if name.endswith("duration"))


def test_a_failed_task_says_why_with_status_200(live):
    task_id = live.create_id(T2V)
    (claim,) = live.store.claim([task_id], "engine", 60.0)
    assert live.store.fail(task_id, "engine", claim.fence, "InternalError", "The engine broke.", {"text": 0.1})
    body = live.get(task_id)
    assert set(body) == {"request_id", "output"}
    assert body["output"]["task_status"] == "FAILED"
    assert (body["output"]["code"], body["output"]["message"]) == ("InternalError", "The engine broke.")
    assert "video_url" not in body["output"]


@pytest.mark.parametrize("task_id", [str(uuid.uuid4()), "x", "../../etc/passwd".replace("/", "%2F"), "%00", "a" * 5000])
def test_an_unknown_id_is_unknown_with_status_200(live, task_id):
    answer = live.client.get(f"/api/v1/tasks/{task_id}")
    if "%2F" in task_id:  # decoded by the server into a path that is no route
        assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")
        return
    assert answer.status_code == 200
    assert answer.json()["output"]["task_status"] == "UNKNOWN"
    assert set(answer.json()["output"]) == {"task_id", "task_status"}


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_waiting_task_can_be_cancelled_once(live, slash):
    task_id = live.create_id(T2V)
    answer = live.client.post(f"/api/v1/tasks/{task_id}/cancel{slash}")
    assert (answer.status_code, set(answer.json())) == (200, {"request_id"})
    assert live.get(task_id)["output"]["task_status"] == "CANCELED"
    again = live.client.post(f"/api/v1/tasks/{task_id}/cancel{slash}")
    assert (again.status_code, again.json()["code"]) == (400, "UnsupportedOperation")


def test_a_running_or_unknown_task_cannot_be_cancelled(live):
    running = live.create_id(T2V)
    live.store.claim([running], "engine", 60.0)
    for task_id in (running, str(uuid.uuid4()), "x"):
        answer = live.client.post(f"/api/v1/tasks/{task_id}/cancel")
        assert answer.status_code == 400
        assert answer.json()["code"] == "UnsupportedOperation"
        assert answer.json()["message"] == (
            "Failed to cancel the task, please confirm if the task is in PENDING status."
        )
    assert live.get(running)["output"]["task_status"] == "RUNNING"


def test_an_administrator_stops_a_running_task(live):
    task_id = live.create_id(T2V)
    (claim,) = live.store.claim([task_id], "engine", 60.0)
    assert live.client.post(f"/api/v1/tasks/{task_id}/cancel?running=true").status_code == 200
    assert live.store.renew("engine", 60.0, {task_id: Progress(0.5, "denoise")})[task_id].cancel_requested
    assert live.store.cancel_running(task_id, "engine", claim.fence, {})
    assert live.client.post(f"/api/v1/tasks/{task_id}/cancel?running=true").status_code == 400
    assert live.client.post(f"/api/v1/tasks/{task_id}/cancel?running=maybe").json()["code"] == "InvalidParameter"


@pytest.mark.parametrize("slash", ["", "/"])
def test_list_has_the_documented_shape_and_the_v2_clients_key(live, slash):
    ids = [live.create_id(T2V) for _ in range(3)]
    live.finish(ids[0])
    body = live.client.get(f"/api/v1/tasks{slash}?page_size=2").json()
    assert {name: body[name] for name in ("total", "total_page", "page_no", "page_size")} == {
        **{"total": 3, "total_page": 2, "page_no": 1, "page_size": 2}
    }
    assert [(row["task_id"], row["status"]) for row in body["tasks"]] == [
        (row["task_id"], row["status"]) for row in body["data"]
    ]
    assert all(WIRE_TIME.fullmatch(row["submit_time"]) for row in body["tasks"])
    assert [row["task_id"] for row in body["data"]] == ids[:0:-1]
    (row,) = live.client.get(f"/api/v1/tasks{slash}?status=SUCCEEDED").json()["data"]
    assert set(row) == {
        *("api_key_id", "caller_parent_id", "caller_uid", "gmt_create", "start_time", "end_time", "model_name"),
        *("region", "request_id", "status", "task_id", "user_api_unique_key"),
    }
    assert (row["task_id"], row["status"], row["model_name"]) == (ids[0], "SUCCEEDED", "happyhorse-1.0-t2v")
    assert all(type(row[name]) is int for name in ("gmt_create", "start_time", "end_time"))
    assert row["user_api_unique_key"] == "apikey:v1:aigc:video-generation:video-synthesis:happyhorse-1.0-t2v"
    pending = live.client.get(f"/api/v1/tasks{slash}?task_id={ids[1]}").json()["data"]
    assert "end_time" not in pending[0]
    assert "start_time" not in pending[0]


def test_list_refuses_a_malformed_filter(live):
    for query in ("page_no=0", "page_size=101", "status=DONE", "start_time=yesterday", "task_id=x"):
        answer = live.client.get(f"/api/v1/tasks?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter"), query


def test_a_store_that_does_not_answer_is_503_with_retry_after_and_no_detail(live):
    with sqlite3.connect(live.services.settings.sqlite_file) as raw:
        raw.execute("DROP TABLE tasks")
    raw.close()
    for answer in (live.create(T2V), live.client.get(f"/api/v1/tasks/{uuid.uuid4()}"), live.client.get("/healthz")):
        assert (answer.status_code, answer.json()["code"]) == (503, "ModelUnavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert "tasks" not in answer.json()["message"]


def test_requests_of_the_contract_survive_the_way_into_the_store(live):
    task_id = live.create_id(T2V)
    stored = live.store.get(task_id).request
    assert stored.model_copy(update={"marking": UNMARKED}) == ClipRequest(
        model="happyhorse-1.0-t2v", mode=Mode.T2V, prompt="a horse 马", resolution="720P", duration=3, seed=7
    )


def test_a_workspace_is_written_down_and_opens_nothing(live):
    task_id = live.create_id(T2V, x_dashscope_workspace="ws-1")
    plain = live.create_id(T2V)
    rows = live.client.get("/api/v1/tasks", headers={"x-dashscope-workspace": "other"}).json()["data"]
    assert {row["task_id"]: row.get("workspace_id") for row in rows} == {task_id: "ws-1", plain: None}
    assert live.store.get(task_id).tenant == live.store.get(plain).tenant == "local"
    refused = live.create(T2V, x_dashscope_workspace="a\tb" * 40)
    assert (refused.status_code, refused.json()["code"]) == (400, "InvalidParameter")
