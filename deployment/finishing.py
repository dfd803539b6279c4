"""Between a written file and its publication: signed, read back, inspected. What lacks a mark is never published.

Whatever fails here fails one clip, not its batch, and no gang is to blame for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from av.error import FFmpegError

from deployment.content_credentials import check_manifest, open_signer
from deployment.moderation import Moderation, open_moderation
from deployment.store.base import Claim, TaskStore
from engine.marking.aigc import AIGC, aigc_field, read_metadata
from engine.messages import MuxReport
from hhray.errors import ConfigError, MarkingFailed, ModerationUnavailable, RequestError
from hhray.marking import Marking
from hhray.settings import Settings
from hhray.tasks import Task

logger = logging.getLogger("ray.serve")
PAUSE_SECONDS = 1.0

Stages = Callable[[], dict[str, float]]


class Finishing:
    """Of one engine's clips.

    Raises:
        ConfigError: the key to sign with, or the moderation hook, cannot be used.
    """

    def __init__(self, settings: Settings, store: TaskStore) -> None:
        self._store, self._max_faults = store, settings.store.max_faults
        self._signer = open_signer(settings.marking)
        self._moderation: Moderation = open_moderation(settings.moderation)
        self._patience = settings.moderation.patience_seconds

    async def finish(self, claim: Claim, report: MuxReport, stages: Stages) -> dict[str, str] | None:
        """Facts of a clip that may be published; None: its task has ended or is in the queue again, its file gone.

        Raises:
            StoreUnavailable: the task store does not say that it heard of a refusal or a fault.
        """
        task, path = claim.task, Path(report.path)
        ids = (task.task_id, claim.owner, claim.fence)
        try:
            facts = await asyncio.to_thread(self._marked, task, report)
            await asyncio.to_thread(self._inspect, path)
        except RequestError as error:
            logger.info("task %s attempt %d refused: %s", task.task_id, claim.fence, error.code)
            await asyncio.to_thread(self._store.fail, *ids, error.code, error.message, stages())
        except (MarkingFailed, ModerationUnavailable) as error:
            logger.error("task %s attempt %d is not published: %s", task.task_id, claim.fence, error)
            await asyncio.to_thread(self._store.release, *ids, fault=str(error), max_faults=self._max_faults)
        else:
            return facts
        path.unlink(missing_ok=True)
        return None

    def _marked(self, task: Task, report: MuxReport) -> dict[str, str]:
        """Put on the last mark, and check that all are there.

        Raises:
            MarkingFailed: one is not.
        """
        marking, path, producer = task.request.marking, Path(report.path), task.request.marking.producer
        if report.marks != marking.written:
            raise MarkingFailed(f"the clip was to be marked {_names(marking.written)}, not {_names(report.marks)}")
        if marking.signed:
            if self._signer is None:
                raise MarkingFailed("the clip is to be signed and this engine has no key: see marking.c2pa_key")
            self._signer.sign(path, task.task_id, task.request.model, producer)
        try:
            check_marks(path, marking, task.task_id)
        except ConfigError as error:
            raise MarkingFailed(str(error)) from error
        return {"marking": _names(marking.parts)} | ({"producer": producer} if producer else {})

    def _inspect(self, path: Path) -> None:
        """Moderation of the finished file; a check that fails is tried again for a while.

        Raises:
            DataInspectionFailed: refused.
            ModerationUnavailable: it could not be checked.
        """
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._moderation.check_clip(path)
            except ModerationUnavailable:
                if time.monotonic() + PAUSE_SECONDS > deadline:
                    raise
                time.sleep(PAUSE_SECONDS)


def check_marks(path: Path, marking: Marking, task_id: str) -> None:
    """Read a file back: what its metadata and its manifest must say, they say.

    Raises:
        MarkingFailed: they do not.
        ConfigError: the library that reads manifests is not there.
    """
    if marking.producer:
        try:
            found = read_metadata(path).get(AIGC)
        except (FFmpegError, OSError) as error:
            raise MarkingFailed(f"the clip cannot be read back: {error}") from error
        if found != aigc_field(marking.producer, task_id):
            raise MarkingFailed(f"the clip's {AIGC} field reads back as {found!r}")
    if marking.signed:
        check_manifest(path, task_id)


def _names(parts: tuple[str, ...]) -> str:
    return ",".join(parts) or "none"
