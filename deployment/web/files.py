"""Downloads through this server, from wherever the files lie."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from deployment.artifacts import ArtifactStore, disposition, media_type
from deployment.services import Services
from deployment.web.ranges import last_modified, span_of
from hhray.errors import AccessDenied, NotFound


def file_routes(services: Services) -> APIRouter:
    """GET and HEAD /artifacts/{key}?Expires&Signature: the signature is the permission, no key is asked for."""
    router = APIRouter()

    def download(request: Request, key: str) -> Response:
        query = request.query_params
        signed = services.artifacts.verify(key, query.get("Expires", ""), query.get("Signature", ""), time.time())
        if not signed:
            raise AccessDenied("Access denied. Expected an unaltered URL that has not expired; query the task for one.")
        return file_answer(services.artifacts, request, key)  # a key that was signed here is well-formed

    router.add_api_route("/artifacts/{key:path}", download, methods=["GET", "HEAD"])
    return router


def file_answer(artifacts: ArtifactStore, request: Request, key: str) -> Response:
    """A file of the store as the answer to a GET or HEAD, whose caller may have it: streamed, whole or the one range
    that was asked for.

    Raises:
        NotFound: it is gone.
        ArtifactsUnavailable: its store is away.
    """
    facts = artifacts.facts(key)
    if facts is None:
        raise NotFound("Not found! The file is gone; clips are kept as long as their tasks.")
    span = span_of(request.headers, request.method, facts)
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private",
        "content-disposition": disposition(key),
        "content-length": str(span.end - span.start),
        "content-type": media_type(key),
        "etag": facts.etag,
        "last-modified": last_modified(facts),
        "x-content-type-options": "nosniff",
    }
    if span.status == 206:
        headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{facts.num_bytes}"
    elif span.status == 416:
        headers["content-range"] = f"bytes */{facts.num_bytes}"
    elif span.status == 304:
        del headers["content-length"], headers["content-type"], headers["content-disposition"]
    if request.method == "HEAD" or span.start == span.end:
        return Response(None, span.status, headers)
    return StreamingResponse(artifacts.read(key, span.start, span.end), span.status, headers)
