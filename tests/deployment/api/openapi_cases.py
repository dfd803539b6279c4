"""The OpenAPI description as tests read it: operations, samples, schemas."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from deployment.openapi import description
from deployment.openapi.reference import METHODS, resolved

# Described, but served by branches that are not merged yet. A path that is served must not stand here.
NOT_SERVED_YET: set[str] = set()
# Served, but only the server itself makes their addresses, or it answers 404 whatever is asked.
NOT_DESCRIBED = {"/v1/videos/extensions", "/v1/videos/characters"}

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
