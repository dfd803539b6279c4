"""OpenAI dialect, outwards: the shape of every error under /v1/, and our sentences in this dialect's field names."""

from __future__ import annotations

import re
from typing import Any

PREFIX = "/v1/"
_CODES = {
    "InvalidParameter": "invalid_value",
    "InvalidApiKey": "invalid_api_key",
    "InternalError": "server_error",
    "ModelUnavailable": "service_unavailable",
}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# What the shared rules call a field, and what this dialect's clients know it by.
_FIELDS = (
    (re.compile(r"\binput\.media(?:\[\d{1,3}\])?(?:\.(?:url|type))?"), "input_reference"),
    (re.compile(r"\binput\.(?:img_url|first_frame_url)"), "input_reference"),
    (re.compile(r"\binput\.(prompt|dialogue)"), r"\1"),
    (re.compile(r"\bparameters\.duration"), "seconds"),
    (re.compile(r"\bparameters\.resolution"), "size"),
    (re.compile(r"\bparameters\.(\w+)"), r"\1"),
)
_PARAM = re.compile(r"(?:Field required: )?([a-z_][a-z0-9_]{0,40}(?:\[[a-z0-9_]{0,40}\])?)[:.] ")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_openai(path: str) -> bool:
    """Whether a path belongs to this dialect."""
    return path.startswith(PREFIX)


def render_error(status: int, code: str, message: str) -> dict[str, Any]:
    """Any error answer; `code` is that of the other dialect."""
    sentence = in_our_words(message)
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    param = _PARAM.match(sentence) if kind == "invalid_request_error" and status != 404 else None
    return {
        "error": {
            "message": sentence,
            "type": kind,
            "param": param.group(1) if param else None,
            "code": wire_code(code),
        }
    }


def wire_code(code: str) -> str:
    """A code of the other dialect in this one's spelling: words in lower case, joined by underscores."""
    if code.startswith("Throttling"):
        return "rate_limit_exceeded"
    last = code.rpartition(".")[2] if code.startswith("BadRequest.") else code
    return _CODES.get(code) or _HUMP.sub("_", last).replace(".", "_").lower()


def in_our_words(message: str) -> str:
    """A sentence with this dialect's field names."""
    for pattern, name in _FIELDS:
        message = pattern.sub(name, message)
    return message
