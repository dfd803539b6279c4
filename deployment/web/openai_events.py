"""GET /v1/videos/{id}/events: progress as server-sent events, short-lived and resumable by Last-Event-ID."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from deployment.dialects.openai_render import render_gone, render_video
from deployment.outlook import Outlook
from deployment.progress_stream import ProgressHub, Shown
from deployment.services import Services
from deployment.web.openai_creates import PATH, own_video
from hhray.errors import Throttled
from hhray.tasks import Task

HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the latter: proxies pass events on at once


def openai_event_routes(services: Services, outlook: Outlook) -> APIRouter:
    """One hub per replica: however many listen, the store is looked at once per interval."""
    router = APIRouter()
    settings = services.settings.progress

    def look(task_ids: Sequence[str]) -> dict[str, Shown]:
        found = {task.task_id: shown(task, outlook) for task in services.store.find(task_ids)}
        return {task_id: found.get(task_id) or gone(task_id) for task_id in task_ids}

    hub = ProgressHub(look, settings.poll_seconds)

    async def events(request: Request, video_id: str) -> Response:
        caller = services.caller(request)
        if hub.streams[caller.tenant] >= settings.streams_per_tenant:
            raise Throttled(
                f"Too many streams: at most {settings.streams_per_tenant} of a tenant are open at a time.", 5.0
            )
        present = await run_in_threadpool(lambda: shown(own_video(services, caller, video_id), outlook))
        last_seen = request.headers.get("last-event-id", "")
        if present.done and present.name == last_seen:
            return Response(status_code=204)  # the client has seen the end: by the standard it stops asking
        stream = hub.stream(caller.tenant, video_id, present, last_seen, settings.stream_seconds)
        return StreamingResponse(stream, media_type="text/event-stream", headers=HEADERS)

    router.add_api_route(PATH + "/{video_id}/events", events, methods=["GET"])
    return router


def shown(task: Task, outlook: Outlook) -> Shown:
    """What a stream shows of a task. Estimates alone are no news: the name is of state, attempt, place and step."""
    standing = outlook.standing(task)
    at = standing.queue_position if standing.step is None else standing.step
    parts = (task.state.value.lower(), task.attempt, "" if at is None else at, standing.stage or "")
    return Shown("-".join(map(str, parts)), task.state.is_terminal, render_video(task, standing.fields()))


def gone(task_id: str) -> Shown:
    """What a stream shows of a task that was deleted or expired."""
    return Shown("gone", True, render_gone(task_id))
