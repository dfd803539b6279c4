"""The store's clockwork, turned by the router: reaping, folding, expiry, and files that belong to nobody."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from deployment.artifacts import ArtifactStore, StoredFile, clip_key
from deployment.reap_guard import ReapGuard
from deployment.store.base import TaskStore
from hhray.errors import ArtifactsUnavailable, StoreUnavailable
from hhray.store_settings import StoreSettings
from hhray.tasks import Task, TaskState
from hhray.upload_settings import UploadSettings

PAUSED_SECONDS = 86400.0  # what a paused clip has computed waits as long as its task lives
# Folders in order are remembered, so many and so long: a task may go without its files, where their store was away.
MOST_CLEAN = 200_000
CLEAN_SECONDS = 3600.0
UPLOAD_SECONDS = UploadSettings().ttl_seconds
logger = logging.getLogger("ray.serve")


class Janitor:
    """One per cluster. Every call blocks, and raises StoreUnavailable when the store does not answer. Uploads are kept
    for `upload_seconds`."""

    def __init__(
        self,
        store: TaskStore,
        artifacts: ArtifactStore,
        settings: StoreSettings,
        upload_seconds: float = UPLOAD_SECONDS,
    ) -> None:
        self._store, self._artifacts, self._settings = store, artifacts, settings
        self._upload_seconds = upload_seconds
        self._guard = ReapGuard(settings.lease_seconds)
        self._clean: dict[str, float] = {}
        self._clean_until = 0.0

    def reap(self) -> list[tuple[str, TaskState]]:
        """Requeue tasks whose lease ran out, unless the store itself was away: what became of each."""
        try:
            self._store.fold()  # a write: reads may still work where renewals do not
            self._guard.answered(time.monotonic())
            if not self._guard.may_reap(time.monotonic()):
                return []
            return self._store.reap(self._settings.max_faults)
        except StoreUnavailable:
            self._guard.away()
            raise

    def expire(self) -> list[str]:
        """Remove tasks past their expiry with their files: their ids. Uploads and keys of creates go too. Files that
        cannot be removed now are found by `collect` later, for no task names them."""
        self._store.drop_create_keys()
        uploads = self._store.expire_uploads()
        removed = self._store.expire()
        try:
            for upload_id in uploads:
                self._artifacts.delete_task(upload_id)
            for task_id, tenant in removed:
                self._artifacts.delete_task(task_id, tenant)
        except (OSError, ArtifactsUnavailable) as error:
            logger.warning("files whose time is over not removed yet: %s", error)
            self._clean.clear()
        return [task_id for task_id, _ in removed]

    def collect(self) -> int:
        """Remove files older than the grace that no task names - of attempts nobody published, of creates that were
        never committed, half-written ones - and uploads past their time. Returns how many; what a store that is away
        keeps is found by a later call."""
        count = 0
        try:
            folders = self._artifacts.folders()
            if len(self._clean) > MOST_CLEAN or time.monotonic() > self._clean_until:
                self._clean.clear()
                self._clean_until = time.monotonic() + CLEAN_SECONDS
            for folder, mark in folders.items():
                if self._clean.get(folder) != mark:
                    count += self._collect_folder(folder, mark)
            # those with a row go by it; what a crash left of others goes here
            oldest = time.time() - self._upload_seconds - self._settings.orphan_grace_seconds
            count += self._artifacts.delete_uploads(oldest)
        except ArtifactsUnavailable as error:
            logger.warning("files of nobody not removed yet: %s", error)
        return count

    def _collect_folder(self, folder: str, mark: float) -> int:
        files = self._artifacts.files(folder)  # before the row: what is published later was in use, not an orphan
        task = self._store.get(folder.rpartition("/")[2])
        oldest = time.time() - self._settings.orphan_grace_seconds
        unnamed = [file for file in files if not _is_named(task, file)]
        doomed = [file for file in unnamed if file.written_at <= oldest]
        for file in doomed:
            self._artifacts.delete_file(file)
            logger.info("%s belonged to nobody and was removed", file.key)
        self._clean.pop(folder, None)
        if task is None and len(doomed) == len(files):
            self._artifacts.delete_folder(folder)
        elif task is not None and task.state.is_terminal and not unnamed:
            self._clean[folder] = mark  # nothing to look for until a file comes or goes, or the task does
        return len(doomed)


def sweep_scratch(folder: Path, older_than_seconds: float) -> int:
    """Remove files that a dead engine left in its scratch folder; how many. Clips that wait for a store are younger."""
    count, now = 0, time.time()
    for path in folder.glob("*"):
        limit = PAUSED_SECONDS if path.suffix == ".paused" else older_than_seconds
        try:
            if path.is_file() and path.stat().st_mtime <= now - limit:
                path.unlink()
                count += 1
        except FileNotFoundError:
            continue  # another engine of this machine sweeps too
    return count


def _is_named(task: Task | None, file: StoredFile) -> bool:
    """Whether a file is a result, made of one, an input, or one that engine or intake may be about to publish."""
    if task is None:
        return False
    if file.kind == "inputs":
        return not file.name.startswith(".") or not (task.ready or task.state.is_terminal)
    if file.kind == "previews":
        return task.state is TaskState.SUCCEEDED and not file.name.startswith(".")
    if task.state is TaskState.RUNNING:
        # an engine of the release before this one writes keys without a tenant
        own = (clip_key(task.task_id, task.attempt, task.tenant), clip_key(task.task_id, task.attempt))
        return file.key in own or file.name.startswith(f".{task.attempt}.mp4.")
    return file.key == task.artifact_key
