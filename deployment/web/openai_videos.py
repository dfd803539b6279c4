"""Retrieve, list and delete of the OpenAI dialect. Another tenant's video does not exist."""

from __future__ import annotations

import logging
import re
import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from deployment.dialects.dashscope_query import shown
from deployment.dialects.openai_render import (
    poll_after_ms,
    render_deleted,
    render_models,
    render_page,
    render_video,
)
from deployment.outlook import Outlook
from deployment.services import Services, is_task_id, request_id_of
from deployment.web.openai_creates import PATH, POLL_HEADER, own_video
from hhray.errors import ArtifactsUnavailable, InvalidParameter, NotFound
from hhray.tasks import Task, TaskState

logger = logging.getLogger("ray.serve")
DEFAULT_LIMIT, MAX_LIMIT = 20, 100


def openai_video_routes(services: Services, outlook: Outlook) -> APIRouter:
    """GET /v1/videos, GET and DELETE /v1/videos/{id}, GET /v1/models; with and without a trailing slash.

    Plain functions: FastAPI runs them on a thread, so that the store may block.
    """
    router = APIRouter()

    def retrieve(request: Request, video_id: str) -> JSONResponse:
        task = own_video(services, services.caller(request), video_id)
        waits = task.state is TaskState.PENDING and task.ready
        standing = outlook.standing(task, services.store.queue_position(video_id) if waits else None)
        poll = poll_after_ms(task.state, standing.eta.seconds if standing.eta else None)
        headers = {} if poll is None else {POLL_HEADER: str(poll)}
        return JSONResponse(render_video(task, standing.fields(), _url(services, request, task)), headers=headers)

    def list_videos(request: Request) -> JSONResponse:
        tenant, query = services.caller(request).tenant, request.query_params
        order, limit = query.get("order") or "desc", _limit(query.get("limit"))
        if order not in ("asc", "desc"):
            raise InvalidParameter(f"order: expected asc or desc, got {shown(order)}.")
        after = query.get("after") or None
        if after is not None and (not is_task_id(after) or services.store.get(after, tenant) is None):
            raise InvalidParameter(f"after: expected the id of a video of yours, got {shown(after)}.")
        found = services.store.page(tenant, after, limit + 1, newest_first=order == "desc")
        return JSONResponse(render_page(found[:limit], has_more=len(found) > limit))

    def delete(request: Request, video_id: str) -> JSONResponse:
        caller = services.caller(request)
        before = services.store.delete(video_id, caller.tenant, caller.key_id) if is_task_id(video_id) else None
        if before is None:
            raise NotFound("Not found! There is no such video, or its time to live is over.")
        logger.info("request %s: task %s deleted, it was %s", request_id_of(request), video_id, before)
        if before is not TaskState.RUNNING:  # its engine may be writing; the janitor removes what it leaves
            _delete_files(services, video_id, caller.tenant)
        return JSONResponse(render_deleted(video_id))

    def models(request: Request) -> JSONResponse:
        services.caller(request)
        return JSONResponse(render_models())

    for slash in ("", "/"):
        router.add_api_route(PATH + slash, list_videos, methods=["GET"])
        router.add_api_route(PATH + "/{video_id}" + slash, retrieve, methods=["GET"])
        router.add_api_route(PATH + "/{video_id}" + slash, delete, methods=["DELETE"])
    router.add_api_route("/v1/models", models, methods=["GET"])
    return router


def _url(services: Services, request: Request, task: Task) -> str:
    """Where the clip can be downloaded without a key, until the file goes; empty without a clip."""
    if task.state is not TaskState.SUCCEEDED:
        return ""
    now = time.time()
    ttl_seconds = min(services.settings.store.url_ttl_seconds, task.expires_at - now)
    return services.artifacts.download_url(task.artifact_key, ttl_seconds, now, services.base_url(request))


def _delete_files(services: Services, task_id: str, tenant: str) -> None:
    try:
        services.artifacts.delete_task(task_id, tenant)
    except (ArtifactsUnavailable, OSError) as error:
        logger.warning("task %s: its files stay until the janitor finds them: %s", task_id, error)


def _limit(text: str | None) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidParameter(f"limit: expected an integer from 1 to {MAX_LIMIT}, got {shown(text)}.")
    return int(text)
