"""Create in the DashScope dialect: from a request body to a task."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from deployment.creation import create_task, refuse_later
from deployment.departure import Departure
from deployment.dialects import dashscope
from deployment.keys import Caller
from deployment.services import Services, request_id_of
from deployment.web.client_watch import watched
from hhray.errors import InvalidApiKey, InvalidParameter, InvalidURL, MediaError

PATH = "/api/v1/services/aigc/video-generation/video-synthesis"
LARGE_CREATES = 2  # with pictures inside them at a time: each takes three times its size while it is read


def video_routes(services: Services) -> APIRouter:
    """POST .../video-synthesis, with and without a trailing slash."""
    router = APIRouter()
    turns = asyncio.Semaphore(LARGE_CREATES)

    async def create(request: Request) -> JSONResponse:
        try:
            caller = services.caller(request)
        except InvalidApiKey:
            # A body left unread would reset the connection under the client before it sees the answer.
            await _read_body(request, keep_bytes=0)
            raise
        body = await _read_body(request, keep_bytes=dashscope.MAX_STREAM_BYTES)
        large = body is not None and len(body) > dashscope.MAX_BODY_BYTES
        merges = services.settings.http.merge_reposts
        async with turns if large else nullcontext(), watched(request, services.store, merges) as departure:
            return await run_in_threadpool(_create, services, caller, request, body, departure)

    for path in (PATH, PATH + "/"):
        router.add_api_route(path, create, methods=["POST"])
    return router


async def _read_body(request: Request, *, keep_bytes: int) -> bytearray | None:
    """The body; None when it is longer than `keep_bytes`. As much again is read and dropped, then nothing more."""
    kept, seen = bytearray(), 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen <= keep_bytes:
            kept += chunk
        else:
            kept.clear()
        if seen > keep_bytes + dashscope.MAX_STREAM_BYTES:
            break
    return kept if seen <= keep_bytes else None


def _create(
    services: Services, caller: Caller, request: Request, body: bytearray | None, departure: Departure | None
) -> JSONResponse:
    headers, request_id = request.headers, request_id_of(request)
    dashscope.check_async_header(headers.get("x-dashscope-async"))
    if body is None:
        raise dashscope.body_too_large()
    envelope = dashscope.open_envelope(body)
    key = dashscope.parse_idempotency_key(headers.get("idempotency-key"))
    workspace = dashscope.parse_workspace(headers.get("x-dashscope-workspace"))
    resolves = headers.get(dashscope.RESOLVE_HEADER, "").lower() == "enable"
    try:
        media = services.settings.media
        call = dashscope.parse_envelope(envelope, media, resolves_uploads=resolves, workspace=workspace)
        task = create_task(services, caller, replace(call, idempotency_key=key), request_id, departure)
    except (InvalidParameter, InvalidURL, MediaError) as error:
        if services.settings.http.validation == "eager":
            raise
        refused = dashscope.refused_request(envelope, workspace)
        failed = refuse_later(services, caller, refused, request_id, error)
        return JSONResponse(dashscope.render_pending(failed, request_id))
    return JSONResponse(dashscope.render_created(task, request_id))
