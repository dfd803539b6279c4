"""How an engine comes by work: the router's assignment, or without a router the oldest task of the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from deployment.scheduling import Assignment
from deployment.store.base import Claim, TaskStore

logger = logging.getLogger("ray.serve")

AskRouter = Callable[[str], Awaitable[Assignment | None]]


class Claimer:
    """Claims batches for one engine, late: only when it has free ranks. `ask_router` maps a ticket to an assignment."""

    def __init__(
        self, store: TaskStore, engine_id: str, lease_seconds: float, ask_router: AskRouter, timeout_seconds: float
    ) -> None:
        self._store = store
        self._engine_id = engine_id
        self._lease_seconds = lease_seconds
        self._ask_router = ask_router
        self._timeout_seconds = timeout_seconds

    async def claim(self, ticket: str) -> list[Claim]:
        """The claims won by compare-and-set; empty when there was nothing, or others were faster."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                assignment = await self._ask_router(ticket)
        except Exception as error:  # noqa: BLE001 - any failure of the router must leave engines working
            logger.warning("router away (%s): claiming the oldest task", type(error).__name__)
            return await asyncio.to_thread(self._store.claim_oldest, self._engine_id, self._lease_seconds, 1)
        if assignment is None:
            return []
        return await asyncio.to_thread(self._store.claim, assignment.task_ids, self._engine_id, self._lease_seconds)
