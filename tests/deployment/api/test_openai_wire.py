"""The OpenAI dialect on the wire: what load generators send, errors of every kind, tenants kept apart, idempotency."""

from __future__ import annotations

import gc
import json
import sqlite3
import uuid
import warnings

import httpx
import pytest

from deployment.key_file import create_key

FORM = {"prompt": "a horse", "size": "256P", "seconds": "3"}


def as_form(fields, *files):
    """Multipart as clients send it, also without a file."""
    parts = [(name, (None, str(value))) for name, value in fields.items()]
    return {"files": parts + list(files)}


def error_of(answer):
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    return body["error"]


def finished(live, video_id):
    """As the generators do: poll until the end, then fetch the clip."""
    assert live.client.get(f"/v1/videos/{video_id}").json()["status"] == "queued"
    live.intake.run_once()
    live.finish(video_id, b"the clip")
    body = live.client.get(f"/v1/videos/{video_id}").json()
    assert (body["id"], body["object"], body["status"], body["progress"]) == (video_id, "video", "completed", 100)
    assert httpx.get(body["url"], trust_env=False).content == b"the clip"
    assert live.client.get(f"/v1/videos/{video_id}/content").content == b"the clip"
    return live.store.get(video_id).request


def test_the_form_of_vllm_omnis_benchmark(live, picture):
    fields = {"model": "happyhorse-1.1-t2v", "prompt": "a horse", "width": 448, "height": 256, "num_frames": 75}
    fields |= {"num_inference_steps": 8, "seed": 42, "fps": 25, "guidance_scale": 1.0, "negative_prompt": "x"}
    made = live.client.post("/v1/videos", **as_form(fields))
    assert made.status_code == 200, made.text
    request = finished(live, made.json()["id"])
    assert (str(request.shape_key), request.seed) == ("t2v/256P/16:9/3", 42)
    file = ("input_reference", ("cat.png", picture(), "image/png"))
    made = live.client.post("/v1/videos", **as_form({**fields, "model": "happyhorse-1.1-i2v"}, file))
    assert made.status_code == 200, made.text
    assert str(finished(live, made.json()["id"]).shape_key) == "i2v/256P/5:4/3"


def test_the_requests_of_sglangs_benchmark(live, picture):
    assert live.client.get("/health").status_code == 200
    body = {"model": "happyhorse-1.1-t2v", "prompt": "a horse", "size": "448x256", "num_frames": 81, "fps": 16}
    made = live.client.post("/v1/videos", json=body)
    assert made.status_code == 200, made.text
    assert str(finished(live, made.json()["id"]).shape_key) == "t2v/256P/16:9/5"
    fields = {"model": "happyhorse-1.1-i2v", "prompt": "a horse", "size": "448x256", "num_frames": "81", "fps": "16"}
    fields["extra_body"] = json.dumps({"seed": 7})
    file = ("input_reference", ("cat.jpg", picture(kind="JPEG"), "application/octet-stream"))
    made = live.client.post("/v1/videos", **as_form(fields, file))
    assert made.status_code == 200, made.text
    request = finished(live, made.json()["id"])
    assert (str(request.shape_key), request.seed) == ("i2v/256P/5:4/5", 7)


def test_the_request_of_aiperf_and_its_answer(live):
    body = {"prompt": "a horse", "model": "happyhorse-1.0-t2v", "size": "1280x720", "seconds": 4, "seed": 1}
    made = live.client.post("/v1/videos", json=body | {"num_inference_steps": 8, "guidance_scale": 5.0})
    known = made.json()
    read = ("id", "object", "status", "progress", "size", "seconds", "model", "created_at", "expires_at", "error")
    assert all(name in known for name in read)
    assert (known["status"], known["seconds"], known["size"]) == ("queued", "4", "1280x720")
    assert str(finished(live, known["id"]).shape_key) == "t2v/720P/16:9/4"


def test_plain_forms_and_models(live):
    assert live.client.post("/v1/videos", data=FORM).json()["seconds"] == "3"
    assert live.client.post("/v1/videos/", data=FORM).status_code == 200
    models = live.client.get("/v1/models").json()
    assert "happyhorse-1.0-video-edit" in [row["id"] for row in models["data"]]


def test_an_idempotency_key_names_one_video_and_keeps_its_fingerprint(live, picture):
    def create(data):
        file = ("input_reference", ("a.png", data, "image/png"))
        return live.client.post("/v1/videos", **as_form(FORM, file), headers={"idempotency-key": "order-7"})

    first = create(picture()).json()["id"]
    assert create(picture()).json()["id"] == first
    assert len(live.store.get(first).fingerprint) == 64
    inputs = live.services.settings.artifact_dir / "inputs" / "t-local"
    assert [path.name for path in inputs.iterdir()] == [first]
    assert create(picture(410, 400)).status_code == 422
    assert live.client.delete(f"/v1/videos/{first}").status_code == 200
    assert create(picture()).json()["id"] != first, "a deleted video takes its key along"


def test_every_error_has_this_dialects_shape(live):
    missing = f"/v1/videos/{uuid.uuid4()}"
    form, json_type = {"content-type": "multipart/form-data"}, {"content-type": "application/json"}
    cases = [
        (live.client.post("/v1/videos", json={"prompt": ""}), 400, "invalid_value", "prompt"),
        (live.client.post("/v1/videos", content=b"{", headers=json_type), 400, None, "body"),
        (
            live.client.post("/v1/videos", content=b"x", headers=form),
            400,
            None,
            "body",
        ),
        (live.client.get(missing), 404, "not_found", None),
        (live.client.get("/v1/videos/video_123"), 404, "not_found", None),
        (live.client.delete(missing), 404, "not_found", None),
        (live.client.get(missing + "/content"), 404, "not_found", None),
        (live.client.get(missing + "/events"), 404, "not_found", None),
        (live.client.post(missing + "/remix", json={"prompt": "x"}), 404, "not_found", None),
        (live.client.get("/v1/images"), 404, "not_found", None),
        (live.client.put("/v1/videos"), 405, "method_not_allowed", None),
        (live.client.get("/v1/videos?limit=101"), 400, "invalid_value", "limit"),
        (live.client.get("/v1/videos?order=up"), 400, "invalid_value", "order"),
        (live.client.post("/v1/videos/edits", json={"prompt": "x"}), 400, "invalid_value", "video"),
        (live.client.post("/v1/videos/characters", json={}), 404, "not_found", None),
    ]
    for answer, status, code, param in cases:
        error = error_of(answer)
        assert (answer.status_code, error["param"]) == (status, param), error
        assert code in (None, error["code"])
    malformed = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"
    answer = live.client.post(
        "/v1/videos", content=malformed, headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert "well-formed multipart" in error_of(answer)["message"]


def test_a_variant_that_is_not_offered_and_a_clip_that_is_not_there(live):
    video_id = live.client.post("/v1/videos", json=FORM).json()["id"]
    answer = live.client.get(f"/v1/videos/{video_id}/content?variant=gif")
    assert (answer.status_code, error_of(answer)["param"]) == (400, "variant")
    answer = live.client.get(f"/v1/videos/{video_id}/content")
    assert (answer.status_code, "queued or in progress" in error_of(answer)["message"]) == (404, True)
    live.finish(video_id, b"no video at all")
    answer = live.client.get(f"/v1/videos/{video_id}/content?variant=thumbnail")
    assert (answer.status_code, error_of(answer)["code"]) == (503, "service_unavailable")


def test_a_body_that_is_too_large_is_413(live):
    """The same limit for every kind of body; that of a plain form is the smallest."""
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = live.client.post("/v1/videos", content=b"prompt=" + b"x" * 2_000_000, headers=kind)
    assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")
    pieces = (b"x" * 100_000 for _ in range(21))  # chunked: nothing is known of its length before
    answer = live.client.post("/v1/videos", content=pieces, headers=kind)
    assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")


def test_overload_and_a_store_that_is_away(serve_with):
    with serve_with(store={"max_queued": 1}) as live:
        assert live.client.post("/v1/videos", json=FORM).status_code == 200
        answer = live.client.post("/v1/videos", json=FORM)
        assert (answer.status_code, error_of(answer)["type"]) == (429, "rate_limit_error")
        assert int(answer.headers["retry-after"]) >= 1
        with sqlite3.connect(live.services.settings.sqlite_file) as raw:
            raw.execute("DROP TABLE tasks")
        raw.close()
        answer = live.client.get(f"/v1/videos/{uuid.uuid4()}")
        assert (answer.status_code, error_of(answer)["code"]) == (503, "service_unavailable")
        assert "tasks" not in answer.text


@pytest.fixture
def two_tenants(live):
    settings = live.services.settings
    secret = (settings.home / "secret").read_text(encoding="ascii").strip().encode()
    keys = {tenant: create_key(settings.keys_file, secret, tenant, False) for tenant in ("alice", "bob")}
    return {tenant: {"authorization": f"Bearer {key}"} for tenant, key in keys.items()}


def test_another_tenants_video_does_not_exist(live, two_tenants):
    alice, bob = two_tenants["alice"], two_tenants["bob"]
    video_id = live.client.post("/v1/videos", json=FORM, headers=alice).json()["id"]
    live.finish(video_id)
    calls = [
        ("GET", ""), ("DELETE", ""), ("GET", "/content"), ("GET", "/content?variant=thumbnail"), ("GET", "/events"),
    ]  # fmt: skip
    for method, rest in calls:
        answer = live.client.request(method, f"/v1/videos/{video_id}{rest}", headers=bob)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found"), (method, rest)
    for path, body in ((f"/{video_id}/remix", {"prompt": "x"}), ("/edits", {"prompt": "x", "video": {"id": video_id}})):
        answer = live.client.post(f"/v1/videos{path}", json=body, headers=bob)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found"), path
    assert live.client.get("/v1/videos", headers=bob).json()["data"] == []
    answer = live.client.get(f"/v1/videos?after={video_id}", headers=bob)
    assert (answer.status_code, error_of(answer)["param"]) == (400, "after")
    assert live.client.get(f"/v1/videos/{video_id}", headers=alice).json()["status"] == "completed"


def test_without_a_good_key_nothing_is_told(live, two_tenants):
    for headers in ({}, {"authorization": "Bearer wrong"}):
        for method, path in (("POST", ""), ("GET", ""), ("GET", f"/{uuid.uuid4()}"), ("POST", "/edits")):
            answer = live.client.request(method, f"/v1/videos{path}", headers=headers, content=b"x" * 100_000)
            assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")


def test_the_same_fields_are_in_the_other_dialects_query(live):
    from hhray.tasks import EngineRecord, Progress

    live.store.heartbeat(EngineRecord("engine", 2, "pico", "ready"))
    waits = live.client.post("/v1/videos", json=FORM).json()["id"]
    output = live.get(waits)["output"]
    assert (output["task_status"], output["queue_position"]) == ("PENDING", 0)
    assert output["eta_seconds"] > 0
    assert output["eta_error_seconds"] > 0
    live.store.claim([waits], "engine", 60.0)
    live.store.renew("engine", 60.0, {waits: Progress(0.5, "denoise")})
    output = live.get(waits)["output"]
    assert (output["step"], output["steps"], output["progress"]) == (4, 8, 0.5)
    assert output["eta_seconds"] >= 0


def test_a_file_whose_part_has_no_end_is_closed(live):
    head = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na horse\r\n--x\r\n'
    part = b'Content-Disposition: form-data; name="input_reference"; filename="a.png"\r\n\r\nabc'
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        kind = {"content-type": "multipart/form-data; boundary=x"}
        assert live.client.post("/v1/videos", content=head + part, headers=kind).status_code in (200, 400)
        gc.collect()
    assert [str(one.message) for one in told if "SpooledTemporaryFile" in str(one.message)] == []
