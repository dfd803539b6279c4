"""GET /v1/videos/{id}/content: the clip with byte ranges, and small pictures of it made when they are asked for."""

from __future__ import annotations

import threading
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from deployment.artifacts import preview_key
from deployment.dialects.dashscope_query import shown
from deployment.services import Services
from deployment.web.openai_creates import PATH, own_video
from hhray.errors import ArtifactsUnavailable, InvalidParameter, NotFound
from hhray.tasks import Task, TaskState

VIDEO, THUMBNAIL, SPRITESHEET = "video", "thumbnail", "spritesheet"
MEDIA_TYPES = {VIDEO: "video/mp4", THUMBNAIL: "image/webp", SPRITESHEET: "image/jpeg"}
FILE_NAMES = {THUMBNAIL: "thumbnail.webp", SPRITESHEET: "spritesheet.jpg"}


def openai_content_routes(services: Services) -> APIRouter:
    """GET and HEAD. Decoding a clip for a picture takes a core for a second or two: one at a time per replica."""
    router = APIRouter()
    turn = threading.Lock()

    def content(request: Request, video_id: str) -> FileResponse:
        caller = services.caller(request)
        variant = request.query_params.get("variant") or VIDEO
        if variant not in MEDIA_TYPES:
            raise InvalidParameter(f"variant: expected {', '.join(MEDIA_TYPES)}, got {shown(variant)}.")
        task = own_video(services, caller, video_id)
        if task.state is not TaskState.SUCCEEDED:
            raise NotFound(f"Not found! The video has no content: expected status completed, but it is {_state(task)}.")
        path = _clip(services, task) if variant == VIDEO else _preview(services, task, variant, turn)
        headers = {"cache-control": "private", "x-content-type-options": "nosniff"}
        name = f"{video_id}{path.suffix}"
        return FileResponse(path, media_type=MEDIA_TYPES[variant], filename=name, headers=headers)

    router.add_api_route(PATH + "/{video_id}/content", content, methods=["GET", "HEAD"])
    return router


def _state(task: Task) -> str:
    return "queued or in progress" if not task.state.is_terminal else task.state.value.lower()


def _clip(services: Services, task: Task) -> Path:
    path = services.artifacts.local_path(task.artifact_key)
    if not path.is_file():
        raise NotFound("Not found! The file is gone; clips are kept as long as their tasks.")
    return path


def _preview(services: Services, task: Task, variant: str, turn: threading.Lock) -> Path:
    """The picture, from the artifact store if somebody asked for it before.

    Raises:
        ArtifactsUnavailable: the clip could not be read, or the picture not be kept.
    """
    key = preview_key(task.task_id, FILE_NAMES[variant])
    path = services.artifacts.local_path(key)
    with turn:
        if not path.is_file():
            from engine import previews  # noqa: PLC0415 - the video library, only where somebody asks for pictures

            clip = _clip(services, task)
            try:
                data = previews.thumbnail(clip) if variant == THUMBNAIL else previews.spritesheet(clip)
            except OSError as error:
                raise ArtifactsUnavailable(f"no {variant} can be made of task {task.task_id}: {error}") from error
            services.artifacts.put_bytes(key, data)
    return path
