"""GET /v1/videos/{id}/content: the clip with byte ranges, and small pictures of it made when they are asked for."""

from __future__ import annotations

import threading

from fastapi import APIRouter, Request
from fastapi.responses import Response

from deployment.artifacts import preview_key
from deployment.dialects.dashscope_query import shown
from deployment.services import Services
from deployment.web.files import file_answer
from deployment.web.openai_creates import PATH, own_video
from hhray.errors import ArtifactsUnavailable, InvalidParameter, NotFound
from hhray.tasks import Task, TaskState

VIDEO, THUMBNAIL, SPRITESHEET = "video", "thumbnail", "spritesheet"
FILE_NAMES = {THUMBNAIL: "thumbnail.webp", SPRITESHEET: "spritesheet.jpg"}


def openai_content_routes(services: Services) -> APIRouter:
    """GET and HEAD. Decoding a clip for a picture takes a core for a second or two: one at a time per replica."""
    router = APIRouter()
    turn = threading.Lock()

    def content(request: Request, video_id: str) -> Response:
        caller = services.caller(request)
        variant = request.query_params.get("variant") or VIDEO
        if variant != VIDEO and variant not in FILE_NAMES:
            raise InvalidParameter(f"variant: expected {VIDEO}, {', '.join(FILE_NAMES)}, got {shown(variant)}.")
        task = own_video(services, caller, video_id)
        if task.state is not TaskState.SUCCEEDED:
            raise NotFound(f"Not found! The video has no content: expected status completed, but it is {_state(task)}.")
        key = task.artifact_key if variant == VIDEO else _preview(services, task, variant, turn)
        return file_answer(services.artifacts, request, key)

    router.add_api_route(PATH + "/{video_id}/content", content, methods=["GET", "HEAD"])
    return router


def _state(task: Task) -> str:
    return "queued or in progress" if not task.state.is_terminal else task.state.value.lower()


def _preview(services: Services, task: Task, variant: str, turn: threading.Lock) -> str:
    """The picture's key; it is made if nobody asked for it before.

    Raises:
        NotFound: the clip is gone.
        ArtifactsUnavailable: the clip could not be read, or the picture not be kept.
    """
    key = preview_key(task.task_id, FILE_NAMES[variant], task.tenant)
    with turn:
        if services.artifacts.facts(key) is None:
            from engine import previews  # noqa: PLC0415 - the video library, only where somebody asks for pictures

            with services.artifacts.open_local(task.artifact_key) as clip:
                try:
                    data = previews.thumbnail(clip) if variant == THUMBNAIL else previews.spritesheet(clip)
                except OSError as error:
                    raise ArtifactsUnavailable(f"no {variant} can be made of task {task.task_id}: {error}") from error
            services.artifacts.put_bytes(key, data)
    return key
