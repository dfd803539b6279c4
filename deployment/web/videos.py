"""Create: from a request body to a row in the task store."""

from __future__ import annotations

import logging
import uuid

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from deployment.artifacts import input_key
from deployment.dialects import dashscope
from deployment.dialects.dashscope import CreateCall
from deployment.keys import Caller
from deployment.web.services import Services, request_id_of
from hhray.errors import InvalidApiKey, Throttled
from hhray.tasks import NewTask, Task

logger = logging.getLogger("ray.serve")

PATH = "/api/v1/services/aigc/video-generation/video-synthesis"
BACKLOG_RETRY_SECONDS = 5.0


def video_routes(services: Services) -> APIRouter:
    """POST .../video-synthesis, with and without a trailing slash."""
    router = APIRouter()

    async def create(request: Request) -> JSONResponse:
        try:
            caller = services.caller(request)
        except InvalidApiKey:
            # A body left unread would reset the connection under the client before it sees the answer.
            await _read_body(request, keep_bytes=0)
            raise
        body = await _read_body(request, keep_bytes=dashscope.MAX_STREAM_BYTES)
        return await run_in_threadpool(_create, services, caller, request, body)

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


def _create(services: Services, caller: Caller, request: Request, body: bytearray | None) -> JSONResponse:
    dashscope.check_async_header(request.headers.get("x-dashscope-async"))
    if body is None:
        raise dashscope.body_too_large()
    call = dashscope.parse_create(bytes(body), services.settings.media)
    idempotency_key = dashscope.parse_idempotency_key(request.headers.get("idempotency-key"))
    _check_backlog(services)
    task = _insert(services, caller, call, idempotency_key, request_id_of(request))
    # From here on the task exists: nothing below may fail.
    if task.ready:
        services.kick(task.task_id)
    else:
        services.intake.wake()
    return JSONResponse(dashscope.render_created(task, request_id_of(request)))


def _check_backlog(services: Services) -> None:
    most = services.settings.store.max_queued
    if services.store.depth().queued >= most:
        raise Throttled(f"Too many tasks are waiting ({most}); please try again later.", BACKLOG_RETRY_SECONDS)


def _insert(services: Services, caller: Caller, call: CreateCall, idempotency_key: str | None, request_id: str) -> Task:
    """Insert the task; a picture that came along is in the artifact store before the row can be seen."""
    task_id, clip = str(uuid.uuid4()), call.request
    if call.picture is not None:
        key = services.artifacts.put_bytes(input_key(task_id), call.picture).key
        clip = clip.model_copy(update={"media": (clip.media[0].model_copy(update={"key": key}),)})
    new = NewTask(
        tenant=caller.tenant,
        request=clip,
        request_id=request_id,
        gpu_seconds=services.cost.gpu_seconds(clip.geometry),
        ready=not clip.media,
        task_id=task_id,
        ttl_seconds=services.settings.store.task_ttl_seconds,
        idempotency_key=idempotency_key,
        api_key_id=caller.key_id,
    )
    inserted: Task | None = None
    try:
        inserted = services.store.create(new)
        return inserted
    finally:
        if call.picture is not None and (inserted is None or inserted.task_id != task_id):
            services.artifacts.delete_task(task_id)  # refused, or an older task of the same idempotency key
