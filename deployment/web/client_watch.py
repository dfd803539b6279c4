"""Sees a client go away while its create is being made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from deployment.departure import Departure
from deployment.store.base import TaskStore


@asynccontextmanager
async def watched(request: Request, store: TaskStore, merges: bool) -> AsyncIterator[Departure | None]:
    """A departure that is told when the client goes before the answer is sent; None where nothing is merged.

    The body must have been read: after it the connection says only one thing more, that it is closed. A proxy may
    say the same by cancelling the request.
    """
    if not merges:
        yield None
        return
    departure = Departure(store)
    watcher = asyncio.create_task(_watch(request, departure))
    try:
        yield departure
        await asyncio.sleep(0)  # a connection that broke just now
    except asyncio.CancelledError:
        _ = asyncio.get_running_loop().run_in_executor(None, departure.left)
        raise
    finally:
        if departure.is_gone:
            await asyncio.wait([watcher])
        else:
            watcher.cancel()


async def _watch(request: Request, departure: Departure) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    await run_in_threadpool(departure.left)
