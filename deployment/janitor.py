"""The store's clockwork, turned by the router: reaping, folding, expiry, and files that belong to nobody."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from deployment.artifacts import ArtifactStore, StoredFile, clip_key
from deployment.reap_guard import ReapGuard
from deployment.store.base import TaskStore
from hhray.errors import StoreUnavailable
from hhray.store_settings import StoreSettings
from hhray.tasks import Task, TaskState

PAUSED_SECONDS = 86400.0  # what a paused clip has computed waits as long as its task lives
logger = logging.getLogger("ray.serve")


class Janitor:
    """One per cluster. Every call blocks, and raises StoreUnavailable when the store does not answer."""

    def __init__(self, store: TaskStore, artifacts: ArtifactStore, settings: StoreSettings) -> None:
        self._store, self._artifacts, self._settings = store, artifacts, settings
        self._guard = ReapGuard(settings.lease_seconds)
        self._clean: dict[str, float] = {}

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
        """Remove tasks past their expiry with their files: their ids. Uploads and keys of creates go too."""
        self._store.drop_create_keys()
        for upload_id in self._store.expire_uploads():
            self._artifacts.delete_task(upload_id)
        removed = self._store.expire()
        for task_id in removed:
            self._artifacts.delete_task(task_id)
        return removed

    def collect(self) -> int:
        """Remove files older than the grace that no task names: of attempts nobody published, of creates that were
        never committed, half-written ones. Returns how many."""
        folders = self._artifacts.folders()
        self._clean = {task_id: mark for task_id, mark in self._clean.items() if folders.get(task_id) == mark}
        count = 0
        for task_id, mark in folders.items():
            if task_id not in self._clean:
                count += self._collect_task(task_id, mark)
        return count

    def _collect_task(self, task_id: str, mark: float) -> int:
        files = self._artifacts.files(task_id)  # before the row: what is published later was in use, not an orphan
        if any(file.kind == "uploads" for file in files) and self._store.has_upload(task_id):
            return 0
        task = self._store.get(task_id)
        oldest = time.time() - self._settings.orphan_grace_seconds
        unnamed = [file for file in files if not _is_named(task, task_id, file)]
        doomed = [file for file in unnamed if file.written_at <= oldest]
        for file in doomed:
            self._artifacts.delete_file(task_id, file)
            logger.info("task %s: %s/%s belonged to nobody and was removed", task_id, file.kind, file.name)
        if task is None and len(doomed) == len(files):
            self._artifacts.delete_task(task_id)
        elif task is not None and task.state.is_terminal and not unnamed:
            self._clean[task_id] = mark  # nothing to look for until a file comes
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


def _is_named(task: Task | None, task_id: str, file: StoredFile) -> bool:
    """Whether a file is a result, an input, or one that an engine or the intake may be about to publish."""
    if task is None:
        return False
    key = f"{file.kind}/{task_id}/{file.name}"
    if file.kind == "inputs":
        return not file.name.startswith(".") or not (task.ready or task.state.is_terminal)
    if file.kind == "previews":
        return task.state is TaskState.SUCCEEDED and not file.name.startswith(".")
    if task.state is TaskState.RUNNING:
        own = clip_key(task_id, task.attempt)
        return key == own or file.name.startswith(f".{task.attempt}.mp4.")
    return key == task.artifact_key
