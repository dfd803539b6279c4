"""Downloads by signed URL: the signature is the permission, no key is asked for."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from deployment.services import Services
from hhray.errors import AccessDenied, NotFound


def file_routes(services: Services) -> APIRouter:
    """GET and HEAD /artifacts/{key}?Expires&Signature, with byte ranges."""
    router = APIRouter()

    def download(request: Request, key: str) -> FileResponse:
        query = request.query_params
        signed = services.artifacts.verify(key, query.get("Expires", ""), query.get("Signature", ""), time.time())
        if not signed:
            raise AccessDenied("Access denied. Expected an unaltered URL that has not expired; query the task for one.")
        path = services.artifacts.local_path(key)  # a key that was signed here is well-formed
        if not path.is_file():
            raise NotFound("Not found! The file is gone; clips are kept as long as their tasks.")
        kind, task_id, _ = key.split("/")
        headers = {"cache-control": "private", "x-content-type-options": "nosniff"}
        return FileResponse(path, media_type="video/mp4", filename=f"{kind}-{task_id}.mp4", headers=headers)

    router.add_api_route("/artifacts/{key:path}", download, methods=["GET", "HEAD"])
    return router
