"""Making a campaign: a bounded number of clips at a time, each to its file, each step kept before the next is taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hhray.async_client import AsyncClient
from hhray.campaign import Variant
from hhray.campaign_state import DONE, FAILED, SUBMITTED, CampaignState, Progress
from hhray.client_http import pause_seconds
from hhray.client_view import TaskView
from hhray.errors import ClientError, HhrayError, RequestRefused, TaskFailed

_THROTTLED = 429

OnChange = Callable[[str, Progress, TaskView | None], None]


class CampaignRun:
    """One run over the variants that are not done yet.

    Every create is sent under the variant's own key, and its task id is kept before it is waited for: whenever a run is
    killed, the next one finds the same task again, by the id or by the key.
    """

    def __init__(
        self,
        client: AsyncClient,
        state: CampaignState,
        *,
        at_once: int,
        timeout_seconds: float,
        on_change: OnChange,
        poll_seconds: float = 0.5,
    ) -> None:
        self._client, self._state, self._on_change = client, state, on_change
        self._timeout_seconds, self._poll_seconds, self._at_once = timeout_seconds, poll_seconds, at_once
        self._not_before = 0.0  # by the monotonic clock: when the server takes creates again

    async def run(self, variants: Sequence[Variant]) -> None:
        """Make all of them; what fails is noted and does not stop the others.

        Raises:
            ClientError: the folder cannot be written, or the server is not to be used with this key.
        """
        todo = iter([variant for variant in variants if self._state.variants[variant.name].status != DONE])

        async def worker() -> None:
            for variant in todo:
                await self._make(variant, self._state.variants[variant.name])

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._at_once):
                    group.create_task(worker())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _make(self, variant: Variant, progress: Progress) -> None:
        began = time.monotonic()
        try:
            view = await self._finished(variant, progress)
            file = await self._client.download(view, self._state.path.parent / f"{variant.name}.mp4")
        except RequestRefused as error:
            if error.http_status in (401, 403):
                raise  # no other variant would fare better
            self._keep(variant.name, progress, status=FAILED, error=f"{error.code}: {error.message}")
        except TaskFailed as error:
            self._keep_failed(variant.name, progress, error)
        except HhrayError as error:  # the task, if there is one, is found again by the next run
            self._keep(variant.name, progress, status=FAILED, error=error.message)
        else:
            seconds = round(time.monotonic() - began, 3)
            self._keep(variant.name, progress, status=DONE, file=file.name, seconds=seconds, error="")

    async def _finished(self, variant: Variant, progress: Progress) -> TaskView:
        """The variant's task once it SUCCEEDED: that of an earlier run, if the server still has it."""
        if progress.task_id:
            try:
                return await self._waited(variant, progress)
            except TaskFailed as error:
                self._keep_failed(variant.name, progress, error)
        self._keep(variant.name, progress, key=variant.key)
        # A new try needs a new key: the one before names the task that failed.
        task_id = await self._submitted(variant, variant.key + (f"-{progress.tries}" if progress.tries else ""))
        self._keep(variant.name, progress, status=SUBMITTED, task_id=task_id, error="")
        return await self._waited(variant, progress)

    def _keep_failed(self, name: str, progress: Progress, error: TaskFailed) -> None:
        self._keep(name, progress, status=FAILED, error=error.message, task_id="", tries=progress.tries + 1)

    async def _waited(self, variant: Variant, progress: Progress) -> TaskView:
        return await self._client.wait(
            progress.task_id,
            lambda view: self._on_change(variant.name, progress, view),
            self._timeout_seconds,
            self._poll_seconds,
        )

    async def _submitted(self, variant: Variant, key: str) -> str:
        """The id of the task; while the server says that it is too much, nobody of this run asks again."""
        deadline, refusals = time.monotonic() + self._timeout_seconds, 0
        while True:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            try:
                return await self._client.submit(variant.model, variant.prompt, **variant.options, idempotency_key=key)
            except RequestRefused as error:
                refusals += 1
                pause = pause_seconds(error, refusals)
                if error.http_status != _THROTTLED or time.monotonic() + pause > deadline:
                    raise
                self._not_before = max(self._not_before, time.monotonic() + pause)

    def _keep(self, name: str, progress: Progress, **changes: Any) -> None:  # noqa: ANN401 - fields of Progress
        for field, value in changes.items():
            setattr(progress, field, value)
        self._state.write()
        self._on_change(name, progress, None)


def prepare(state: CampaignState, variants: Sequence[Variant]) -> list[str]:
    """Fit the state to the plan; the names of what an earlier plan had and this one has not.

    Raises:
        ClientError: a clip of this name was made from another script.
    """
    for variant in variants:
        known = state.variants.setdefault(variant.name, Progress())
        if known.key not in ("", variant.key):
            raise ClientError(
                f"{variant.name} was begun from another script; choose another --out, or put the file's lines back"
            )
        clip = state.path.parent / known.file
        if known.status == DONE and not (known.file and clip.is_file()):
            state.variants[variant.name] = Progress(key=known.key, task_id=known.task_id, tries=known.tries)
    names = {variant.name for variant in variants}
    return [name for name in state.variants if name not in names]


def missing_files(files: Sequence[Path]) -> list[Path]:
    """Those that are not there."""
    return [file for file in files if not file.is_file()]
