"""Requests made up from the OpenAPI description, good and bad, by schemathesis: each is answered as described."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from schemathesis import GenerationMode

from hhray.errors import NotFound
from openapi_cases import DOCUMENT, NOT_SERVED_YET, OPERATIONS, answer_schema, check

EXAMPLES = 8
# What the router of the application answers when a made-up path parameter leads to no route.
ROUTING = {404, 405}


@pytest.fixture(scope="module")
def described():
    return schemathesis.openapi.from_dict(DOCUMENT)


def check_answer(path, method, answer):
    """The answer is one the description has for this operation."""
    kind = answer.headers["content-type"][0].partition(";")[0]
    responses = DOCUMENT["paths"][path][method]["responses"]
    if str(answer.status_code) not in responses:
        assert answer.status_code in ROUTING, answer.text
        assert answer.json()["code"] in {NotFound.code, "MethodNotAllowed"}
    elif kind == "application/json":
        check(answer_schema(path, method, answer.status_code), answer.json())
    else:
        assert answer_schema(path, method, answer.status_code, kind)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_made_up_requests_are_answered_as_described(refusing, described, path, method, mode):
    if path in NOT_SERVED_YET:
        pytest.skip(f"{path} is not served yet")
    operation = described[path][method.upper()]
    seen = set()

    @seeded(2026)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case):
        answer = case.call(base_url=refusing.url, timeout=10)
        seen.add(answer.status_code)
        assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text}"
        check_answer(path, method, answer)

    if mode is GenerationMode.NEGATIVE and not operation_takes_anything(path, method):
        pytest.skip("nothing of this operation can be wrong")
    run()
    assert seen


def operation_takes_anything(path, method):
    item = DOCUMENT["paths"][path]
    return bool(item.get("parameters") or item[method].get("parameters") or "requestBody" in item[method])


def test_every_accepted_task_can_be_cancelled_afterwards(refusing):
    """The last test of the file: what the made-up requests left behind ends."""
    store = refusing.store
    waiting = store.depth().queued
    headers = {"authorization": "Bearer any"}
    page = refusing.client.get("/api/v1/tasks", params={"status": "PENDING", "page_size": 100}, headers=headers).json()
    assert page["total"] == waiting
    for row in page["data"]:
        answer = refusing.client.post(f"/api/v1/tasks/{row['task_id']}/cancel", headers=headers)
        assert answer.status_code == 200
    assert store.depth().queued == 0
