"""Errors as answers: every one in the shape of the dialect that its path belongs to."""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from deployment.dialects import openai_errors
from deployment.dialects.dashscope import render_error
from deployment.services import request_id_of
from hhray.errors import (
    ArtifactsUnavailable,
    HhrayError,
    ModerationUnavailable,
    NotFound,
    RequestError,
    StoreUnavailable,
    Throttled,
)

logger = logging.getLogger("ray.serve")

STORE_RETRY_SECONDS = 2.0
DISK_RETRY_SECONDS = 30.0
MODERATION_RETRY_SECONDS = 5.0
_ROUTING_CODES = {404: NotFound.code, 405: "MethodNotAllowed"}


def add_refusals(app: FastAPI) -> None:
    """Register the handlers. A ServiceError without one of its own ends in RequestNaming, with the trace logged."""
    app.add_exception_handler(RequestError, _refuse)
    app.add_exception_handler(StoreUnavailable, _store_unavailable)
    app.add_exception_handler(ArtifactsUnavailable, _no_files)
    app.add_exception_handler(ModerationUnavailable, _not_moderated)
    app.add_exception_handler(HTTPException, _no_route)


def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)  # noqa: S101 - registered for this class above
    headers = {}
    if isinstance(error, Throttled):
        headers["retry-after"] = str(math.ceil(error.retry_after_seconds))
    return _answer(request, error.status, error.code, error.message, headers)


def _store_unavailable(request: Request, error: Exception) -> JSONResponse:
    logger.error("request %s: %s", request_id_of(request), error)
    message = "The task store does not answer; please try again in a few seconds."
    headers = {"retry-after": str(math.ceil(STORE_RETRY_SECONDS))}
    return _answer(request, StoreUnavailable.status, StoreUnavailable.code, message, headers)


def _no_files(request: Request, error: Exception) -> JSONResponse:
    logger.error("request %s: %s", request_id_of(request), error)
    message = "The server cannot store files now; please try again in a minute. Requests without media are taken."
    headers = {"retry-after": str(math.ceil(DISK_RETRY_SECONDS))}
    return _answer(request, ArtifactsUnavailable.status, ArtifactsUnavailable.code, message, headers)


def _not_moderated(request: Request, error: Exception) -> JSONResponse:
    logger.error("request %s: %s", request_id_of(request), error)
    message = "The request could not be inspected; please try again in a few seconds."
    headers = {"retry-after": str(math.ceil(MODERATION_RETRY_SECONDS))}
    return _answer(request, ModerationUnavailable.status, ModerationUnavailable.code, message, headers)


def _no_route(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class above
    code = _ROUTING_CODES.get(error.status_code, HhrayError.code)
    message = {
        404: f"Not found! Expected a path of this API, such as {_example(request)}.",
        405: "This path is not offered with this HTTP method; see the Allow header.",
    }.get(error.status_code, "The request cannot be handled.")
    return _answer(request, error.status_code, code, message, dict(error.headers or {}))


def _example(request: Request) -> str:
    return "/v1/videos/<video_id>" if openai_errors.is_openai(request.url.path) else "/api/v1/tasks/<task_id>"


def _answer(request: Request, status: int, code: str, message: str, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(error_body(request.url.path, status, code, message, request_id_of(request)), status, headers)


def error_body(path: str, status: int, code: str, message: str, request_id: str) -> dict[str, Any]:
    """An error as the dialect of this path has it."""
    if openai_errors.is_openai(path):
        return openai_errors.render_error(status, code, message)
    return render_error(code, message, request_id)
