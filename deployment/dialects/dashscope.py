"""The DashScope dialect of HappyHorse: what clients of the hosted API send and expect, as pure functions."""

from __future__ import annotations

from deployment.dialects.dashscope_parse import (
    MAX_BODY_BYTES,
    MAX_STREAM_BYTES,
    body_too_large,
    check_async_header,
    parse_create,
    parse_idempotency_key,
)
from deployment.dialects.dashscope_query import parse_list
from deployment.dialects.dashscope_render import (
    CANCEL_REFUSED,
    STOP_REFUSED,
    Json,
    render_created,
    render_error,
    render_list,
    render_task,
    render_unknown,
)

__all__ = [
    "CANCEL_REFUSED",
    "MAX_BODY_BYTES",
    "MAX_STREAM_BYTES",
    "STOP_REFUSED",
    "Json",
    "body_too_large",
    "check_async_header",
    "parse_create",
    "parse_idempotency_key",
    "parse_list",
    "render_created",
    "render_error",
    "render_list",
    "render_task",
    "render_unknown",
]
