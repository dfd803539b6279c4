"""Creates of the OpenAI dialect: a new video, an edit, a remix."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from deployment.create_call import CreateCall
from deployment.creation import create_task
from deployment.dialects.dashscope import parse_idempotency_key
from deployment.dialects.dashscope_query import shown
from deployment.dialects.openai_fields import Fields, Upload
from deployment.dialects.openai_parse import parse_create
from deployment.dialects.openai_render import BLIND_POLL_MS, render_video
from deployment.keys import Caller
from deployment.services import Services, is_task_id, request_id_of
from deployment.web.body import caller_of, fields_of
from hhray.errors import InvalidParameter, NotFound, UnsupportedOperation
from hhray.prompting import bound_prompt
from hhray.request import Media, Mode
from hhray.tasks import Task, TaskState

PATH = "/v1/videos"
POLL_HEADER = "openai-poll-after-ms"
CREATES_AT_ONCE = 8  # that are parsed and stored; each may hold a data URI twice in memory


def openai_create_routes(services: Services) -> APIRouter:
    """POST /v1/videos, /v1/videos/edits and /v1/videos/{id}/remix."""
    router = APIRouter()
    turns = asyncio.Semaphore(CREATES_AT_ONCE)

    async def create(request: Request) -> JSONResponse:
        caller = await caller_of(services, request)
        async with fields_of(request, services.settings.media.max_video_bytes) as fields, turns:
            return await run_in_threadpool(_create, services, caller, request, fields)

    async def edit(request: Request) -> JSONResponse:
        caller = await caller_of(services, request)
        async with fields_of(request, services.settings.media.max_video_bytes) as fields, turns:
            return await run_in_threadpool(_edit, services, caller, request, fields)

    async def remix(request: Request, video_id: str) -> JSONResponse:
        caller = await caller_of(services, request)
        async with fields_of(request, 0) as fields, turns:
            return await run_in_threadpool(_remix, services, caller, request, video_id, fields)

    async def not_offered(request: Request) -> JSONResponse:
        await caller_of(services, request)
        raise NotFound("Not found! This model neither extends videos nor keeps characters; create a new video.")

    for slash in ("", "/"):
        router.add_api_route(PATH + slash, create, methods=["POST"])
    router.add_api_route(PATH + "/edits", edit, methods=["POST"])
    for name in ("extensions", "characters"):
        router.add_api_route(f"{PATH}/{name}", not_offered, methods=["POST"])
    router.add_api_route(PATH + "/{video_id}/remix", remix, methods=["POST"])
    return router


def own_video(services: Services, caller: Caller, video_id: str) -> Task:
    """A video of the caller's tenant.

    Raises:
        NotFound: there is none of this id, or it is another tenant's.
    """
    task = services.store.get(video_id, caller.tenant) if is_task_id(video_id) else None
    if task is None:
        raise NotFound("Not found! There is no such video, or its time to live is over.")
    return task


def finished_video(services: Services, caller: Caller, video_id: str) -> Task:
    """As `own_video`, with its clip.

    Raises:
        NotFound: as above.
        UnsupportedOperation: it has no clip, or not yet.
    """
    task = own_video(services, caller, video_id)
    if task.state is not TaskState.SUCCEEDED:
        raise UnsupportedOperation(f"id: expected a completed video, but this one is {task.state.value}.")
    return task


def _create(services: Services, caller: Caller, request: Request, fields: Fields) -> JSONResponse:
    call = parse_create(fields, services.settings.engine.tiers, services.settings.media)
    return _answer(services, caller, request, call)


def _edit(services: Services, caller: Caller, request: Request, fields: Fields) -> JSONResponse:
    """Edit a video that comes along, or a completed one of this server by its id."""
    video = fields.get("video")
    with ExitStack() as files:
        if isinstance(video, dict) and video.get("id") is not None:
            if not isinstance(video["id"], str):
                raise InvalidParameter(f"video: expected the id of a completed video, got {shown(video['id'])}.")
            task = finished_video(services, caller, video["id"])
            fields = {**fields, "video": _open(services, files, task.artifact_key)}
        if fields.get("video") is None and fields.get("video_url") is None:
            raise InvalidParameter('Field required: video. Expected an MP4 or MOV file, or {"id": "..."}.')
        call = parse_create(fields, services.settings.engine.tiers, services.settings.media)
        if call.request.mode is not Mode.VIDEO_EDIT:
            raise InvalidParameter(f"model: {call.request.model} edits no videos; leave the model out.")
        return _answer(services, caller, request, call)


def _remix(services: Services, caller: Caller, request: Request, video_id: str, fields: Fields) -> JSONResponse:
    """The same settings, media and seed as a completed video's, with another prompt."""
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InvalidParameter(f"prompt: expected a text that describes the clip, got {shown(prompt)}.")
    source = finished_video(services, caller, video_id).request
    # The shared rules read the prompt, so that what they cut or refuse is the same as in any create.
    read = parse_create({"prompt": prompt, "seconds": 5}, services.settings.engine.tiers, services.settings.media)
    with ExitStack() as files:
        opened = tuple(_open(services, files, item.key).file if item.key else None for item in source.media)
        media = tuple(
            item if data is None else Media(type=item.type) for item, data in zip(source.media, opened, strict=True)
        )
        repeated = source.model_copy(update={"prompt": read.request.prompt, "media": media, "remix_of": video_id})
        bound_prompt(repeated)
        return _answer(services, caller, request, CreateCall(repeated, opened))


def _answer(services: Services, caller: Caller, request: Request, call: CreateCall) -> JSONResponse:
    key = parse_idempotency_key(request.headers.get("idempotency-key"))
    if key is not None:
        call = replace(call, idempotency_key=key)
    task = create_task(services, caller, call, request_id_of(request))
    if task.state is TaskState.UNKNOWN:
        raise NotFound("Not found! The video that this Idempotency-Key made is gone; send another key for a new one.")
    return JSONResponse(render_video(task), headers={POLL_HEADER: str(BLIND_POLL_MS)})


def _open(services: Services, files: ExitStack, key: str) -> Upload:
    """A file of ours, open while the stack is.

    Raises:
        UnsupportedOperation: it is gone.
    """
    try:
        path = files.enter_context(services.artifacts.open_local(key))
        file = files.enter_context(path.open("rb"))
    except (NotFound, FileNotFoundError) as error:
        raise UnsupportedOperation("id: the files of this video are gone; create a new one.") from error
    return Upload(file, path.stat().st_size)
