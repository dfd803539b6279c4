"""Create: from a request body to a row in the task store."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import nullcontext

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from deployment.artifacts import ArtifactStore, input_key
from deployment.dialects import dashscope
from deployment.dialects.dashscope import CreateCall
from deployment.keys import Caller
from deployment.web.services import Services, request_id_of
from hhray.capabilities import Capabilities
from hhray.engine_settings import EngineSettings
from hhray.errors import InvalidApiKey, InvalidParameter, Throttled
from hhray.request import ClipRequest, Media
from hhray.tasks import NewTask, Task
from hhray.tenancy import tenant_settings

logger = logging.getLogger("ray.serve")

PATH = "/api/v1/services/aigc/video-generation/video-synthesis"
BACKLOG_RETRY_SECONDS = 5.0
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
        async with turns if large else nullcontext():
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
    call = dashscope.parse_create(body, services.settings.media)
    _check_offer(services.settings.engine, call.request)
    _check_capabilities(services.served.capabilities, call.request)
    idempotency_key = dashscope.parse_idempotency_key(request.headers.get("idempotency-key"))
    _check_backlog(services)
    if call.request.media:
        services.artifacts.check_room()
    task = _insert(services, caller, call, idempotency_key, request_id_of(request))
    # From here on the task exists: nothing below may fail.
    if task.ready:
        services.kick(task.task_id)
    else:
        services.intake.wake()
    return JSONResponse(dashscope.render_created(task, request_id_of(request)))


def _check_offer(engine: EngineSettings, clip: ClipRequest) -> None:
    """What the operator offers may be less than the menu: the memory of the engines was planned for it."""
    if clip.resolution not in engine.tiers:
        raise InvalidParameter(
            f"parameters.resolution: this server offers {', '.join(engine.tiers)}, got {clip.resolution.value}."
        )
    if clip.duration > engine.max_seconds:
        raise InvalidParameter(
            f"parameters.duration: this server offers clips of at most {engine.max_seconds} seconds, "
            f"got {clip.duration}."
        )


def _check_capabilities(capabilities: Capabilities, clip: ClipRequest) -> None:
    if clip.strict_capabilities and not capabilities.trained_for(clip.mode):
        raise InvalidParameter(
            f"parameters.strict_capabilities: expected a mode the checkpoint was trained for "
            f"({', '.join(capabilities.names())}), got {clip.mode.value}. Without it: {capabilities.notice(clip.mode)}"
        )


def _check_backlog(services: Services) -> None:
    most = services.settings.store.max_queued
    if services.store.depth().queued >= most:
        raise Throttled(f"Too many tasks are waiting ({most}); please try again later.", BACKLOG_RETRY_SECONDS)


def _insert(services: Services, caller: Caller, call: CreateCall, idempotency_key: str | None, request_id: str) -> Task:
    """Insert the task; pictures that came along are in the artifact store before the row can be seen."""
    task_id, clip = str(uuid.uuid4()), call.request
    granted = tenant_settings(services.settings.tenants, caller.tenant)
    inserted: Task | None = None
    try:
        clip = clip.model_copy(update={"media": _stored(services.artifacts, task_id, call)})
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
            deadline_seconds=call.deadline_seconds,
            priority=granted.priority,
            reserved=granted.reserved > 0,
        )
        inserted = services.store.create(new)
        return inserted
    finally:
        if any(call.files) and (inserted is None or inserted.task_id != task_id):
            services.artifacts.delete_task(task_id)  # refused, or an older task of the same idempotency key


def _stored(artifacts: ArtifactStore, task_id: str, call: CreateCall) -> tuple[Media, ...]:
    """The request's media, with the keys of those that came along and lie in the store now."""
    return tuple(
        item if data is None else item.model_copy(update={"key": artifacts.put_bytes(input_key(task_id, at), data).key})
        for at, (item, data) in enumerate(zip(call.request.media, call.files, strict=True))
    )
