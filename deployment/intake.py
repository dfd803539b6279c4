"""Media intake: the stage between create and the queue.

It fetches what a request refers to, checks the bytes, fills in what depends on them (ratio and cost of an
image-to-video clip) and makes the task claimable, or FAILED with a sentence for the client.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from deployment.artifacts import ArtifactStore, input_key
from deployment.safe_fetch import fetch
from deployment.store.base import TaskStore
from engine.picture import probe_picture
from hhray.cost import CostModel
from hhray.errors import HhrayError, InvalidParameter, RequestError, StoreUnavailable
from hhray.geometry import Size, nearest_ratio
from hhray.request import ClipRequest, Media
from hhray.settings import Settings
from hhray.tasks import Task

logger = logging.getLogger("ray.serve")

MIN_SIDE = 300
MAX_ASPECT = 2.5
NUM_FETCHERS = 4
POLL_SECONDS = 2.0
# A claim outlives the download by this: a resolver that hangs, a slow disk, a busy database.
LEASE_MARGIN_SECONDS = 30.0


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
    ) -> None:
        self._settings, self._store, self._artifacts = settings.media, store, artifacts
        self._cost, self._owner, self._kick = cost, owner, kick
        self._work = threading.Semaphore(0)
        # One at a time: a picture of the largest size allowed takes some 200 MB while it is decoded.
        self._decoding = threading.Lock()

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
            StoreUnavailable, OSError: ours; the claim runs out and the task is tried again.
        """
        lease_seconds = self._settings.timeout_seconds + LEASE_MARGIN_SECONDS
        task = self._store.claim_media(self._owner, lease_seconds)
        if task is None:
            return False
        try:
            request = self._complete(task)
        except RequestError as error:
            self._fail(task, error.code, f"input.media[0].url: {error.message}")
        except (StoreUnavailable, OSError):
            raise
        except Exception as error:  # a picture that trips our code would come back for ever
            logger.exception("task %s: media could not be handled", task.task_id)
            self._fail(task, HhrayError.code, f"The server failed to read the picture ({type(error).__name__}).")
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
            self._artifacts.delete_task(task.task_id)

    def _complete(self, task: Task) -> ClipRequest:
        """The request with its media in the artifact store and everything that depends on it filled in."""
        media = tuple(self._bring_in(task.task_id, index, item) for index, item in enumerate(task.request.media))
        with self._decoding:
            size = probe_picture(self._artifacts.local_path(media[0].key), self._settings.max_pixels)
        check_picture_size(size)
        return task.request.model_copy(update={"media": media, "ratio": nearest_ratio(size)})

    def _bring_in(self, task_id: str, index: int, item: Media) -> Media:
        if item.key:
            return item
        data = fetch(
            item.url,
            max_bytes=self._settings.max_bytes,
            timeout_seconds=self._settings.timeout_seconds,
            max_redirects=self._settings.max_redirects,
            allowed_private=self._settings.allowed_private,
        )
        return item.model_copy(update={"key": self._artifacts.put_bytes(input_key(task_id, index), data).key})


def check_picture_size(size: Size) -> None:
    """Refuse a first frame that is too small or too long for its width.

    Raises:
        InvalidParameter: the sentence names size and limits.
    """
    if min(size.width, size.height) < MIN_SIDE:
        raise InvalidParameter(f"expected a picture of at least {MIN_SIDE}x{MIN_SIDE} pixels, but it is {size}.")
    if not 1 / MAX_ASPECT <= size.aspect <= MAX_ASPECT:
        raise InvalidParameter(f"expected an aspect ratio from 1:{MAX_ASPECT} to {MAX_ASPECT}:1, but it is {size}.")
