"""Query, cancel and list of tasks. An id that cannot be ours is UNKNOWN without asking the store."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from deployment.dialects import dashscope
from deployment.key_scopes import Scope
from deployment.keys import Caller
from deployment.outlook import Outlook
from deployment.services import Services, is_task_id, request_id_of
from hhray.errors import AccessDenied, InvalidParameter, UnsupportedOperation
from hhray.tasks import Task, TaskState

PATH = "/api/v1/tasks"


def task_routes(services: Services, outlook: Outlook) -> APIRouter:
    """GET /tasks/{id}, POST /tasks/{id}/cancel, GET /tasks; each with and without a trailing slash.

    Plain functions: FastAPI runs them on a thread, so that the store may block.
    """
    router = APIRouter()

    def query(request: Request, task_id: str) -> JSONResponse:
        caller = services.caller(request)
        task = services.store.get(task_id, caller.tenant) if is_task_id(task_id) else None
        return JSONResponse(_describe(services, outlook, request, task_id, task))

    def cancel(request: Request, task_id: str) -> JSONResponse:
        _cancel(services, services.caller(request), request, task_id)
        return JSONResponse({"request_id": request_id_of(request)})

    def list_tasks(request: Request) -> JSONResponse:
        wanted = dashscope.parse_list(request.query_params, services.caller(request).tenant, time.time())
        if wanted.task_id is not None and not is_task_id(wanted.task_id):
            raise InvalidParameter("task_id: expected the id of a task, a UUID.")
        tasks, total = services.store.list_tasks(wanted)
        return JSONResponse(dashscope.render_list(tasks, total, wanted, request_id_of(request)))

    for slash in ("", "/"):
        router.add_api_route(PATH + slash, list_tasks, methods=["GET"])
        router.add_api_route(PATH + "/{task_id}" + slash, query, methods=["GET"])
        router.add_api_route(PATH + "/{task_id}/cancel" + slash, cancel, methods=["POST"])
    return router


def _describe(
    services: Services, outlook: Outlook, request: Request, task_id: str, task: Task | None
) -> dashscope.Json:
    request_id = request_id_of(request)
    if task is None:
        return dashscope.render_unknown(task_id, request_id)
    position, url = None, ""
    if task.state is TaskState.PENDING:
        position = services.store.queue_position(task_id)
    if task.state is TaskState.SUCCEEDED:
        now = time.time()
        # The URL must not outlive the file.
        ttl_seconds = min(services.settings.store.url_ttl_seconds, task.expires_at - now)
        url = services.artifacts.download_url(task.artifact_key, ttl_seconds, now, services.base_url(request))
    standing = outlook.standing(task, position).fields()
    return dashscope.render_task(task, request_id, standing=standing, video_url=url)


def _cancel(services: Services, caller: Caller, request: Request, task_id: str) -> None:
    """Cancel a PENDING task; with `running=true` an administrator stops a running one: of the own tenant, the
    server's of any.

    Raises:
        UnsupportedOperation: it is not in such a state, gone or another tenant's.
        AccessDenied: `running=true` without an administrator's key.
    """
    running = request.query_params.get("running", "false")
    if running not in ("true", "false"):
        raise InvalidParameter("running: expected true or false.")
    if running == "false":
        if not is_task_id(task_id) or not services.store.cancel_pending(task_id, caller.tenant, caller.key_id):
            raise UnsupportedOperation(dashscope.CANCEL_REFUSED)
        return
    if Scope.ADMIN not in caller.scopes:
        raise AccessDenied("Access denied. Expected an administrator's key to cancel a running task.")
    tenant = None if caller.admin else caller.tenant
    if not is_task_id(task_id) or not services.store.request_cancel(task_id, tenant, caller.key_id):
        raise UnsupportedOperation(dashscope.STOP_REFUSED)
