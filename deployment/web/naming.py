"""Outermost layer of the application: names every exchange and turns a bug into the dialect's own error."""

from __future__ import annotations

import logging
import re
import uuid

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployment.web.refusals import error_body
from hhray.errors import HhrayError, StoreUnavailable

logger = logging.getLogger("ray.serve")

HEADER = "x-request-id"
RETRY_SECONDS = 5
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RequestNaming:
    """ASGI layer. Takes the client's x-request-id if it is harmless, else makes one.

    `adds_header` is False below a proxy that puts x-request-id on answers itself, as Serve's does: two would be joined
    by clients into one wrong value.
    """

    def __init__(self, app: ASGIApp, adds_header: bool) -> None:
        self._app, self._adds_header = app, adds_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        scope["hhray.request_id"] = request_id
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if self._adds_header:
                    MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            return
        except Exception:  # the last line: clients get a neutral sentence, the log gets the trace
            logger.exception("request %s failed", request_id)
            if not started:
                message = "The server failed to handle the request; please try again, and report the request_id."
                kind: type[HhrayError] = HhrayError
                if _is_query(scope):  # clients that wait for a task go on after 503, and after no other 5xx
                    kind = StoreUnavailable
                body = error_body(scope["path"], kind.status, kind.code, message, request_id)
                headers = {} if kind is HhrayError else {"retry-after": str(RETRY_SECONDS)}
                answer = JSONResponse(body, kind.status, headers)
                await answer(scope, receive, send_named)


def _is_query(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] == "GET" and path.startswith(("/api/v1/tasks", "/v1/videos"))
