"""From a permitted form to a file in the artifact store, counted against the tenant's room from its first byte on.

Order: a row that sets room aside, then the file, then the row says that it is complete. Whatever breaks off in between
leaves neither: the row goes at once, or with a crash when its time is over, and the file with it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import BinaryIO, Protocol

import anyio
from anyio import from_thread, to_thread

from deployment.artifacts import ArtifactStore, upload_key
from deployment.store.base import TaskStore
from deployment.store.upload_verbs import Upload, UploadStart
from deployment.upload_policy import UploadPolicy
from hhray.errors import InvalidParameter, MediaError, Throttled
from hhray.upload_settings import UploadSettings

FULL_RETRY_SECONDS = 3600.0
HOLD_MARGIN_SECONDS = 600.0


class Chunks(Protocol):
    """A file that comes piece by piece."""

    async def chunk(self) -> bytes:
        """The next piece; b"" after the end."""


class UploadIntake:
    """Takes uploads in; each holds a thread while it comes, of a pool of their own."""

    def __init__(self, settings: UploadSettings, store: TaskStore, artifacts: ArtifactStore) -> None:
        self._settings, self._store, self._artifacts = settings, store, artifacts
        self._threads: anyio.CapacityLimiter | None = None

    async def take(self, chunks: Chunks, policy: UploadPolicy, object_key: str, length: int) -> None:
        """Bring a file in.

        Raises:
            MediaError: it is larger than the policy permits.
            InvalidParameter: it is empty, too slow, or the name is taken by another file.
            Throttled: the tenant has no room left.
            StoreUnavailable, ArtifactsUnavailable: ours; nothing was left behind.
        """
        if self._threads is None:  # it belongs to the event loop
            self._threads = anyio.CapacityLimiter(self._settings.parallel)
        upload = Upload(str(uuid.uuid4()), policy.tenant, policy.model, object_key, max(1, length))
        await to_thread.run_sync(self._begin, upload, policy, limiter=self._threads)
        kept = False
        try:
            kept = await to_thread.run_sync(self._keep, upload, chunks, policy, limiter=self._threads)
        finally:
            if not kept:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(self._forget, upload, limiter=self._threads)
        if not kept:
            raise InvalidParameter("file: the upload took too long; upload it again.")

    def _begin(self, upload: Upload, policy: UploadPolicy) -> None:
        settings = self._settings
        self._artifacts.check_room()
        longest = settings.grace_seconds + policy.max_bytes / settings.least_bytes_per_second
        begun = self._store.begin_upload(upload, longest + HOLD_MARGIN_SECONDS, settings.tenant_bytes)
        if begun is UploadStart.TAKEN:
            raise InvalidParameter(
                "key: a file of this name was uploaded with this policy already; get another policy."
            )
        if begun is UploadStart.FULL:
            raise Throttled(
                f"Your uploads together may have {settings.tenant_bytes} bytes; wait until older ones are gone, "
                f"{settings.ttl_seconds:.0f} s after they were made.",
                FULL_RETRY_SECONDS,
            )

    def _keep(self, upload: Upload, chunks: Chunks, policy: UploadPolicy) -> bool:
        """In a thread: write what the event loop reads."""
        pace = _Pace(self._settings, time.monotonic())

        def fill(file: BinaryIO) -> None:
            while piece := from_thread.run(pace.next_piece, chunks):
                if pace.num_bytes > policy.max_bytes:
                    raise MediaError("TooLarge", f"file: expected at most {policy.max_bytes} bytes for {policy.model}.")
                file.write(piece)
            if not pace.num_bytes:
                raise InvalidParameter("file: expected a picture or a video, but it is empty.")

        artifact = self._artifacts.put_stream(upload_key(upload.upload_id, upload.tenant), fill)
        ttl_seconds = self._settings.ttl_seconds
        return self._store.finish_upload(upload.upload_id, artifact.sha256, artifact.num_bytes, ttl_seconds)

    def _forget(self, upload: Upload) -> None:
        self._artifacts.delete_task(upload.upload_id, upload.tenant)
        self._store.drop_upload(upload.upload_id)


class _Pace:
    """Counts bytes, and allows only so much time for them."""

    def __init__(self, settings: UploadSettings, began: float) -> None:
        self._settings, self._began = settings, began
        self.num_bytes = 0

    async def next_piece(self, chunks: Chunks) -> bytes:
        """The next piece of the file. Raises InvalidParameter when it is too slow."""
        settings = self._settings
        allowed = settings.grace_seconds + self.num_bytes / settings.least_bytes_per_second
        try:
            async with asyncio.timeout(self._began + allowed - time.monotonic()):
                piece = await chunks.chunk()
        except TimeoutError:
            raise InvalidParameter(
                f"file: expected at least {settings.least_bytes_per_second:.0f} bytes a second after the first "
                f"{settings.grace_seconds:.0f} seconds."
            ) from None
        self.num_bytes += len(piece)
        return piece
