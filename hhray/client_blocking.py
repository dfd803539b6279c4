"""How the asynchronous client runs without an event loop: over a transport that never waits for one.

httpx's asynchronous client awaits its transport and nothing else. Over one that does its work at once, in the calling
thread, a call of it runs from its beginning to its end in one step: no loop, no second thread, no second logic.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar, cast

import httpx

Result = TypeVar("Result")


def at_once(call: Coroutine[Any, Any, Result]) -> Result:
    """The result of a call that never waits for an event loop.

    Raises:
        RuntimeError: it does.
    """
    try:
        call.send(None)
    except StopIteration as done:
        return cast("Result", done.value)
    call.close()
    raise RuntimeError("the call waits for an event loop; expected one over a BlockingTransport")


async def sleep_here(seconds: float) -> None:
    """Sleep in the calling thread."""
    time.sleep(seconds)


class BlockingTransport(httpx.AsyncBaseTransport):
    """An asynchronous transport that does everything in the calling thread."""

    def __init__(self) -> None:
        self._transport = httpx.HTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._transport.handle_request(request)
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_Stream(cast("httpx.SyncByteStream", answer.stream)),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        self._transport.close()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._stream:
            yield piece

    async def aclose(self) -> None:
        self._stream.close()
