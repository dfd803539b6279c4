"""The OpenAPI description against the application: its routes, its requests, its answers."""

from __future__ import annotations

import json
import time

import pytest
from openapi_spec_validator import validate
from starlette.routing import Match

from deployment.dialects.dashscope_models import MODELS
from deployment.openapi.__main__ import PAGE, main
from deployment.openapi.reference import reference_page, resolved
from deployment.web import create_app
from hhray.geometry import MAX_DURATION, MIN_DURATION, Ratio, Resolution
from hhray.request import MAX_SEED, AudioSetting, Language, MediaType
from hhray.tasks import TaskState
from openapi_cases import DOCUMENT, NOT_DESCRIBED, NOT_SERVED_YET, OPERATIONS, TASK, answer_schema, check, sample

CREATE = "/api/v1/services/aigc/video-generation/video-synthesis"
needs_videos = pytest.mark.skipif("/v1/videos" in NOT_SERVED_YET, reason="the videos dialect is not served yet")


def served_routes(routes):
    """All (path format, methods, route) of an application, those of included routers among them."""
    for route in routes:
        if hasattr(route, "methods"):
            yield route
        else:
            yield from served_routes(getattr(route, "routes", None) or route.effective_candidates())


def matches(route, path, method):
    scope = {"type": "http", "path": path, "method": method, "headers": [], "root_path": ""}
    return route.matches(scope)[0] is Match.FULL


def examples():
    for path, method in OPERATIONS:
        body = DOCUMENT["paths"][path][method].get("requestBody", {})
        for kind, content in body.get("content", {}).items():
            for name, example in content.get("examples", {}).items():
                yield pytest.param(path, kind, content["schema"], example["value"], id=f"{path}-{kind}-{name}")


def test_the_description_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1")
    validate(DOCUMENT)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_described_operation_is_served(refusing, path, method):
    routes = list(served_routes(create_app(refusing.services).routes))
    served = any(matches(route, sample(path), method.upper()) for route in routes)
    assert served is (path not in NOT_SERVED_YET), "served and described must agree; see NOT_SERVED_YET"


def test_every_served_route_is_described(refusing):
    described = {(sample(path), method) for path, method in OPERATIONS}
    for route in served_routes(create_app(refusing.services).routes):
        if route.path.rstrip("/") in NOT_DESCRIBED:
            continue
        slash = "/" if route.path.endswith("/") else ""
        found = [m for path, m in described if matches(route, path + slash, m.upper())]
        assert sorted(found) == sorted(m.lower() for m in route.methods - {"HEAD"}), route.path


def test_the_menus_are_those_of_the_code():
    schemas = DOCUMENT["components"]["schemas"]
    fields = schemas["TaskParameters"]["properties"]
    assert schemas["Model"]["enum"] == list(MODELS)
    assert schemas["TaskStatus"]["enum"] == [state.value for state in TaskState]
    assert set(schemas["TaskMedia"]["properties"]["type"]["enum"]) == {kind.value for kind in MediaType}
    assert fields["resolution"]["enum"] == [*(tier.value for tier in Resolution), None]
    assert fields["ratio"]["enum"] == [*(ratio.value for ratio in Ratio), None]
    assert fields["language"]["enum"] == [*(language.value for language in Language), None]
    assert fields["audio_setting"]["enum"] == [*(setting.value for setting in AudioSetting), None]
    assert (fields["duration"]["minimum"], fields["duration"]["maximum"]) == (MIN_DURATION, MAX_DURATION)
    assert fields["seed"]["maximum"] == MAX_SEED


@pytest.mark.parametrize(("path", "kind", "schema", "value"), list(examples()))
def test_every_example_of_a_request_fits_its_schema_and_is_accepted(refusing, path, kind, schema, value):
    check(schema, value)
    if path in NOT_SERVED_YET:
        pytest.skip(f"{path} is not served yet")
    headers = {"x-dashscope-async": "enable", "authorization": "Bearer any"}
    if kind == "application/json":
        sent = refusing.client.post(path, json=value, headers=headers)
    else:
        sent = refusing.client.post(path, files={name: (None, text) for name, text in value.items()}, headers=headers)
    assert sent.status_code == 200, sent.text
    check(answer_schema(path, "post", 200), sent.json())


def test_every_example_of_an_answer_fits_its_schema():
    seen = 0
    for path, method in OPERATIONS:
        for response in DOCUMENT["paths"][path][method]["responses"].values():
            for content in resolved(DOCUMENT, response).get("content", {}).values():
                for example in content.get("examples", {}).values():
                    check(content["schema"], example["value"])
                    seen += 1
    assert seen >= 4


def text(prompt="a horse", **parameters):
    return {"model": "happyhorse-1.0-t2v", "input": {"prompt": prompt}, "parameters": parameters}


def test_answers_of_every_state_fit_their_schemas(live):
    query = answer_schema("/api/v1/tasks/{task_id}", "get", 200)
    created = live.create(text(duration=3)).json()
    check(answer_schema(CREATE, "post", 200), created)
    task_id = created["output"]["task_id"]
    states = [live.get(task_id), live.get(TASK), live.get("no-id")]
    live.store.claim([task_id], "engine", 60.0)
    states.append(live.get(task_id))
    done, cancelled, failed = live.create_id(text()), live.create_id(text()), live.create_id(text())
    live.finish(done)
    states.append(live.get(done))
    cancel = live.client.post(f"/api/v1/tasks/{cancelled}/cancel", headers={"authorization": "Bearer any"})
    check(answer_schema("/api/v1/tasks/{task_id}/cancel", "post", 200), cancel.json())
    states.append(live.get(cancelled))
    [claim] = live.store.claim([failed], "engine", 60.0)
    assert live.store.fail(failed, "engine", claim.fence, "InternalError", "a gang died", {})
    states.append(live.get(failed))
    for answer in states:
        check(query, answer)
    assert {answer["output"]["task_status"] for answer in states} == {state.value for state in TaskState}
    page = live.client.get("/api/v1/tasks", headers={"authorization": "Bearer any"})
    check(answer_schema("/api/v1/tasks", "get", 200), page.json())
    assert len(page.json()["data"]) == 4
    check(answer_schema("/healthz", "get", 200), live.client.get("/healthz").json())
    assert "text/plain" in live.client.get("/metrics").headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "described", "status"),
    [
        ("POST", CREATE, CREATE, 403),
        ("GET", "/api/v1/tasks?status=DANCING", "/api/v1/tasks", 400),
        ("POST", f"/api/v1/tasks/{TASK}/cancel", "/api/v1/tasks/{task_id}/cancel", 400),
        ("GET", f"/artifacts/clips/{TASK}/1.mp4?Expires=1&Signature=2", "/artifacts/{kind}/{task_id}/{name}", 403),
    ],
)
def test_refusals_fit_their_schemas(refusing, method, path, described, status):
    answer = refusing.client.request(method, path, headers={"authorization": "Bearer any"})
    assert answer.status_code == status
    check(answer_schema(described, method.lower(), status), answer.json())


def test_the_description_is_served_without_a_key_and_quickly(refusing):
    answer = refusing.client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT
    began = time.monotonic()
    refusing.client.get("/openapi.json")
    assert time.monotonic() - began < 0.5


def test_the_reference_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == reference_page(DOCUMENT), "run: python -m deployment.openapi"


def test_the_command_writes_the_page_or_prints_the_document(tmp_path, capsys):
    assert main(["--to", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference_page(DOCUMENT)
    assert main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == DOCUMENT


@needs_videos
def test_answers_of_the_videos_dialect_fit_their_schemas(live):
    headers = {"authorization": "Bearer any"}
    video = live.client.post("/v1/videos", json={"prompt": "a horse", "seconds": "3"}, headers=headers).json()
    check(answer_schema("/v1/videos", "post", 200), video)
    live.finish(video["id"])
    done = live.client.get(f"/v1/videos/{video['id']}", headers=headers).json()
    check(answer_schema("/v1/videos/{video_id}", "get", 200), done)
    assert (done["status"], done["progress"]) == ("completed", 100)
    check(answer_schema("/v1/videos", "get", 200), live.client.get("/v1/videos", headers=headers).json())
    events = live.client.get(f"/v1/videos/{video['id']}/events", headers=headers)
    data = [line.removeprefix("data:") for line in events.text.splitlines() if line.startswith("data:")]
    check(answer_schema("/v1/videos/{video_id}", "get", 200), json.loads(data[-1]))
    gone = live.client.delete(f"/v1/videos/{video['id']}", headers=headers)
    check(answer_schema("/v1/videos/{video_id}", "delete", 200), gone.json())
    missing = live.client.get(f"/v1/videos/{TASK}", headers=headers)
    assert missing.status_code == 404
    check(answer_schema("/v1/videos/{video_id}", "get", 404), missing.json())
