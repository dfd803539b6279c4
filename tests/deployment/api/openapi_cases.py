"""The OpenAPI description as tests read it: operations, samples, schemas."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from deployment.openapi import description
from deployment.openapi.reference import METHODS, resolved

# Described, but served by branches that are not merged yet. A path that is served must not stand here.
NOT_SERVED_YET = {
    "/api/v1/uploads",
    "/api/v1/usage",
    "/api/v1/quotas",
    "/api/v1/tenant/data",
    "/v1/models",
    "/v1/videos",
    "/v1/videos/edits",
    "/v1/videos/{video_id}",
    "/v1/videos/{video_id}/remix",
    "/v1/videos/{video_id}/content",
    "/v1/videos/{video_id}/events",
}
# Served, but only the server itself makes their addresses: nothing for a reader of the description.
NOT_DESCRIBED: set[str] = set()

DOCUMENT = description()
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in METHODS if method in item]
TASK = "0385dc79-5ff8-4d82-bcb6-000000000001"
_SAMPLES = {"{kind}": "clips", "{name}": "1.mp4"}


def sample(path: str) -> str:
    """The path with its parameters filled in; a task's id where nothing else is known."""
    return "/".join(_SAMPLES.get(part, TASK) if part.startswith("{") else part for part in path.split("/"))


def check(schema: dict[str, Any], value: Any) -> None:
    """Raises ValidationError unless the value fits."""
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def answer_schema(path: str, method: str, status: int, kind: str = "application/json") -> dict[str, Any]:
    """The schema of an answer."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    return resolved(DOCUMENT, responses[str(status)])["content"][kind]["schema"]
