"""The DashScope dialect of HappyHorse: what clients of the hosted API send and expect, as pure functions."""

from __future__ import annotations

from deployment.dialects.dashscope_media import OBJECT_KEY, RESOLVE_HEADER
from deployment.dialects.dashscope_models import find_model
from deployment.dialects.dashscope_parse import (
    MAX_BODY_BYTES,
    MAX_STREAM_BYTES,
    Envelope,
    body_too_large,
    check_async_header,
    open_envelope,
    parse_create,
    parse_envelope,
    parse_idempotency_key,
    parse_workspace,
    refused_request,
)
from deployment.dialects.dashscope_query import parse_list
from deployment.dialects.dashscope_render import (
    CANCEL_REFUSED,
    STOP_REFUSED,
    Json,
    render_created,
    render_error,
    render_list,
    render_pending,
    render_policy,
    render_task,
    render_unknown,
)

__all__ = [
    "CANCEL_REFUSED",
    "MAX_BODY_BYTES",
    "MAX_STREAM_BYTES",
    "OBJECT_KEY",
    "RESOLVE_HEADER",
    "STOP_REFUSED",
    "Envelope",
    "Json",
    "body_too_large",
    "check_async_header",
    "find_model",
    "open_envelope",
    "parse_create",
    "parse_envelope",
    "parse_idempotency_key",
    "parse_list",
    "parse_workspace",
    "refused_request",
    "render_created",
    "render_error",
    "render_list",
    "render_pending",
    "render_policy",
    "render_task",
    "render_unknown",
]
