"""Media intake: the stage between create and the queue.

It fetches what a request refers to, has a confined process read it and write it anew, fills in what depends on that
(the ratio of a first frame, ratio and length of a video to edit, the cost) and makes the task claimable, or FAILED with
a sentence for the client.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from deployment.artifacts import ArtifactStore, input_key
from deployment.media_checks import (
    MAX_VIDEO_SECONDS,
    MAX_VIDEO_SIDE,
    check_picture,
    check_video,
    with_picture,
    with_video,
)
from deployment.moderation import Moderation
from deployment.safe_fetch import FetchLimits, fetch
from deployment.store.base import TaskStore
from engine.media_cleaning import clean_picture, clean_video
from engine.mp4_boxes import VideoCaps
from engine.source_video import VideoFacts
from hhray.cost import CostModel
from hhray.errors import ArtifactsUnavailable, HhrayError, ModerationUnavailable, RequestError, StoreUnavailable
from hhray.geometry import Size
from hhray.request import ClipRequest, Media, MediaType, Mode
from hhray.settings import Settings
from hhray.tasks import Task

logger = logging.getLogger("ray.serve")

NUM_FETCHERS = 8  # they mostly wait; what they fetch goes straight to the disk
POLL_SECONDS = 2.0
# A claim outlives the work by this: a queue for the decoder, a slow disk, a busy database.
LEASE_MARGIN_SECONDS = 60.0
# What a video's headers may promise before any decoder sees it; 240 pictures a second are a slow-motion camera's.
VIDEO_CAPS = VideoCaps(MAX_VIDEO_SECONDS, frames=240 * MAX_VIDEO_SECONDS, tracks=16, pixels=MAX_VIDEO_SIDE**2)


class MediaIntake:
    """Brings in the media of one task at a time per thread. `owner` names this process in the store."""

    def __init__(
        self,
        settings: Settings,
        store: TaskStore,
        artifacts: ArtifactStore,
        cost: CostModel,
        owner: str,
        kick: Callable[[str], None],
        moderation: Moderation | None = None,
    ) -> None:
        self._settings, self._store, self._artifacts = settings.media, store, artifacts
        self._scratch_dir = settings.scratch_dir
        self._cost, self._owner, self._kick = cost, owner, kick
        self._moderation = moderation or Moderation(None, settings.moderation)
        self._work = threading.Semaphore(0)
        # One at a time: a picture of the largest size allowed takes some 400 MB while it is decoded.
        self._decoding = threading.Lock()
        # The same for videos, whose decoder takes longer: it must not hold up the pictures.
        self._probing = threading.Lock()

    def serve(self, stop: threading.Event) -> None:
        """Work until `stop` is set; several fetchers, so that one slow server does not hold up the others' media."""
        fetchers = [
            threading.Thread(target=self._work_until, args=(stop,), name=f"media-{index}", daemon=True)
            for index in range(NUM_FETCHERS)
        ]
        for fetcher in fetchers:
            fetcher.start()
        stop.wait()
        self._work.release(NUM_FETCHERS)
        for fetcher in fetchers:
            fetcher.join()

    def wake(self) -> None:
        """A task with media was created: do not wait for the next look."""
        self._work.release()

    def run_once(self) -> bool:
        """Claim and finish one task's media; False when none waits.

        Raises:
            StoreUnavailable, ArtifactsUnavailable, ModerationUnavailable, OSError: ours; the claim runs out and the
                task is tried again.
        """
        settings = self._settings
        lease_seconds = settings.task_timeout_seconds + settings.probe_seconds + LEASE_MARGIN_SECONDS
        task = self._store.claim_media(self._owner, lease_seconds)
        if task is None:
            return False
        try:
            request = self._complete(task)
        except RequestError as error:
            self._fail(task, error.code, error.message)
        except (StoreUnavailable, ArtifactsUnavailable, ModerationUnavailable, OSError):
            raise
        except Exception as error:  # a file that trips our code would come back for ever
            logger.exception("task %s: media could not be handled", task.task_id)
            self._fail(task, HhrayError.code, f"The server failed to read the media ({type(error).__name__}).")
        else:
            gpu_seconds = self._cost.gpu_seconds(request.geometry)
            if self._store.media_ready(task.task_id, self._owner, request, gpu_seconds):
                self._kick(task.task_id)
        return True

    def _work_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                while self.run_once() and not stop.is_set():
                    pass
            except Exception:  # the loop must go on; the claim runs out and the task is tried again
                logger.exception("media intake failed, trying again")
            self._work.acquire(timeout=POLL_SECONDS)

    def _fail(self, task: Task, code: str, message: str) -> None:
        logger.info("task %s: media refused: %s", task.task_id, code)
        if self._store.media_failed(task.task_id, self._owner, code, message):
            self._artifacts.delete_task(task.task_id, task.tenant)

    def _complete(self, task: Task) -> ClipRequest:
        """The request with its media in the artifact store and everything that depends on it filled in.

        Raises:
            RequestError: the message begins with the path of the field that is wrong.
        """
        request, media = task.request, list(task.request.media)
        deadline = time.monotonic() + self._settings.task_timeout_seconds
        facts: VideoFacts | None = None
        for index, item in enumerate(media):
            with _named(f"input.media[{index}].url"):
                key = input_key(task.task_id, index, task.tenant)
                source = item.key or self._fetch(key, item, deadline)
                media[index] = item.model_copy(update={"key": key})
                if item.type is MediaType.VIDEO:
                    facts = self._clean_video(source, key)
                else:
                    request = with_picture(request, self._clean_picture(source, key, request.mode))
            with self._artifacts.open_local(key) as path:
                self._moderation.check_media(path, item.type)
        if facts is not None:
            request = with_video(request, facts)
        return request.model_copy(update={"media": tuple(media)})

    def _fetch(self, key: str, item: Media, deadline: float) -> str:
        """Download a file straight to the disk. Returns `key`, where it lies."""
        settings, is_video = self._settings, item.type is MediaType.VIDEO
        left = max(0.1, deadline - time.monotonic())
        limits = FetchLimits(
            max_bytes=settings.max_video_bytes if is_video else settings.max_bytes,
            timeout_seconds=left if is_video else min(left, settings.timeout_seconds),
            max_redirects=settings.max_redirects,
            allowed_private=settings.allowed_private,
            ports=settings.ports,
            idle_seconds=settings.idle_seconds,
        )
        accept = "video/*" if is_video else "image/*"
        return self._artifacts.put_stream(key, lambda file: fetch(item.url, file.write, limits, accept)).key

    def _clean_picture(self, source: str, key: str, mode: Mode) -> Size:
        """Put a picture without metadata at `key`, once it passes for the mode; its size."""
        settings = self._settings
        with self._decoding, self._scratch_file() as clean, self._artifacts.open_local(source) as path:
            size = clean_picture(
                path,
                clean,
                max_pixels=settings.max_pixels,
                memory_bytes=settings.probe_bytes,
                seconds=settings.probe_seconds,
            )
            check_picture(size, mode)
            self._keep(key, clean)
        return size

    def _clean_video(self, source: str, key: str) -> VideoFacts:
        """Put a video without metadata at `key`, once it passes; its facts."""
        settings = self._settings
        with self._probing, self._scratch_file() as clean, self._artifacts.open_local(source) as path:
            facts = clean_video(
                path,
                clean,
                VIDEO_CAPS,
                memory_bytes=settings.probe_bytes,
                seconds=settings.probe_seconds,
            )
            check_video(facts)
            self._keep(key, clean)
        return facts

    def _scratch_file(self) -> IO[bytes]:
        """A file without a name: whatever becomes of this process, nothing is left."""
        self._scratch_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return tempfile.TemporaryFile(dir=self._scratch_dir)

    def _keep(self, key: str, clean: IO[bytes]) -> None:
        clean.seek(0)
        self._artifacts.put_stream(key, lambda file: shutil.copyfileobj(clean, file, 1 << 20))


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Errors of the client's that are raised inside begin with the field's path."""
    try:
        yield
    except RequestError as error:
        error.args = (f"{path}: {error.message}", *error.args[1:])
        raise
