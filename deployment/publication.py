"""Publication: a finished file becomes a task's result, once, whatever fails on the way.

The file goes under a key of its attempt, is read back and compared, and ONE compare-and-set of the task store makes it
the result. Whoever loses that removes its own file. Work that is done is not thrown away because a store is away for a
while: the upload is tried again for `engine.artifact_patience_seconds`, the transaction for
`engine.publish_patience_seconds`, while the lease keeper goes on asking for the lease.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from deployment.artifacts import ArtifactStore, clip_key
from deployment.store.base import Claim, TaskStore
from hhray.engine_settings import EngineSettings
from hhray.errors import ArtifactsUnavailable, EngineFault, ServiceError, StoreUnavailable
from hhray.tasks import Artifact

logger = logging.getLogger("ray.serve")
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 5.0

Stages = Callable[[], dict[str, float]]
_T = TypeVar("_T")


class Publication:
    """Publishes files of one engine."""

    def __init__(self, store: TaskStore, artifacts: ArtifactStore, settings: EngineSettings) -> None:
        self._store, self._artifacts = store, artifacts
        self._store_patience = settings.publish_patience_seconds
        self._upload_patience = settings.artifact_patience_seconds

    async def publish(
        self, claim: Claim, path: Path, notice: str, stages: Stages, facts: Mapping[str, str] | None = None
    ) -> bool:
        """Make the file at `path`, which is consumed, the result of a claim. `stages` gives the seconds by stage as of
        the moment it is called; `facts` are kept with the task. False: the task is another's now, and this file is
        gone.

        Raises:
            ArtifactsUnavailable: the artifact store took no file in time; the task is still this owner's.
            StoreUnavailable: the task store did not answer in time. The file stays, for it may have been published.
            EngineFault: there is no file at `path`.
        """
        name = f"task {claim.task.task_id} attempt {claim.fence}"
        try:
            artifact = await _patiently(
                lambda: asyncio.to_thread(self._upload, claim, path), ArtifactsUnavailable, self._upload_patience, name
            )
        finally:
            path.unlink(missing_ok=True)
        published = await _patiently(
            lambda: asyncio.to_thread(self._commit, claim, artifact, notice, stages, facts or {}),
            StoreUnavailable,
            self._store_patience,
            name,
        )
        await asyncio.to_thread(self._collect, claim, artifact, published)
        return published

    def _upload(self, claim: Claim, path: Path) -> Artifact:
        """The file in the store, as read back from there."""
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EngineFault(f"the finished clip {path.name} cannot be read: {error}") from error
        key = clip_key(claim.task.task_id, claim.fence, claim.task.tenant)
        artifact = self._artifacts.put_file(key, path)
        if artifact.sha256 != digest:
            self._artifacts.delete(key)  # nobody names it yet; another try must find its place free
            raise ArtifactsUnavailable(f"{artifact.key} reads back other bytes than were written; check its disk")
        return artifact

    def _commit(self, claim: Claim, artifact: Artifact, notice: str, stages: Stages, facts: Mapping[str, str]) -> bool:
        task_id = claim.task.task_id
        ended = self._store.publish(task_id, claim.owner, claim.fence, artifact, stages(), notice, facts)
        if ended is not None:
            return True
        # A commit whose answer was lost on the way looks like a lost lease, but the row then names this very file.
        task = self._store.get(task_id)
        return task is not None and task.artifact_key == artifact.key

    def _collect(self, claim: Claim, artifact: Artifact, published: bool) -> None:
        """Remove what lost. What cannot be removed now is left to the router's orphan collector."""
        try:
            if published:
                self._artifacts.delete_other_attempts(claim.task.task_id, artifact.key)
            else:
                self._artifacts.delete(artifact.key)
        except (OSError, ArtifactsUnavailable) as error:
            logger.warning("task %s: other files not removed yet: %s", claim.task.task_id, error)


async def _patiently(
    call: Callable[[], Awaitable[_T]], passing: type[ServiceError], patience_seconds: float, name: str
) -> _T:
    """The result of `call`, made again after each `passing` error, at growing intervals, until patience ends."""
    began, pause = time.monotonic(), FIRST_PAUSE_SECONDS
    while True:
        try:
            return await call()
        except passing as error:
            waited = time.monotonic() - began
            if waited >= patience_seconds:
                logger.error("%s: given up after %.0f s: %s", name, waited, error)
                raise
            logger.warning("%s: kept, tried again in %.2f s: %s", name, pause, error)
            await asyncio.sleep(min(pause, patience_seconds - waited))
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
