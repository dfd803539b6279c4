"""How long a body may stand still: a client that sends nothing more does not keep its exchange open for ever."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hhray.errors import RequestTimeout


class BodyPatience:
    """ASGI layer: the next piece of a body comes within `idle_seconds`, or the reader gets RequestTimeout."""

    def __init__(self, app: ASGIApp, idle_seconds: float) -> None:
        self._app, self._idle_seconds = app, idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        more = True

        async def receive_soon() -> Message:
            nonlocal more
            if not more:  # what comes after the body is the end of the connection, whenever that is
                return await receive()
            try:
                async with asyncio.timeout(self._idle_seconds):
                    message = await receive()
            except TimeoutError as error:
                seconds = f"{self._idle_seconds:g}"
                raise RequestTimeout(f"The body stood still for {seconds} s; expected the rest of it.") from error
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        await self._app(scope, receive_soon, send)
