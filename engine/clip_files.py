"""A rank's files, those of blocks it is the first of: each is written in a thread while its clip is decoded, and on
while the next one is denoised.

Frames wait in the memory they were decoded into, those of one batch at most. Files have a name of their own until they
are complete.
"""

from __future__ import annotations

import errno
import logging
import re
import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from av.error import FFmpegError

from engine.decoding import ClipDecoding
from engine.frame_buffer import FrameBuffer
from engine.marking.clip_marks import UNMARKED_CLIP, ClipMarks
from engine.messages import MuxReport
from engine.mux import write_mp4
from engine.video_encoder import X264, VideoEncoder
from hhray.errors import DiskFull, EngineFault

logger = logging.getLogger(__name__)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
BARE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class _Writing:
    """A file under way; `encoder` will be the one that wrote it."""

    decoding: ClipDecoding
    marks: ClipMarks
    path: Path
    encoder: Future[VideoEncoder]


class ClipFiles:
    """Files in `folder`, which is made when it is needed. Calls may come from two threads.

    Args:
        encoder: tried first; x264 takes over once it fails.
    """

    def __init__(self, folder: Path, encoder: VideoEncoder) -> None:
        self._folder, self._encoder = folder, encoder
        self._pool = ThreadPoolExecutor(1, "clip-file")  # one after another, in the order they are decoded
        self._lock = threading.Lock()
        self._writing: dict[tuple[str, int], _Writing] = {}

    def begin(self, batch_id: str, index: int, decoding: ClipDecoding, marks: ClipMarks = UNMARKED_CLIP) -> None:
        """Write a clip, with these marks, as the first rank of its block decodes it; waits until those of other batches
        are written."""
        if decoding.frames is None:
            raise EngineFault("only the first rank of a block writes clips; this is a fault of the caller")
        self._discard([(batch_id, index)])
        with self._lock:
            others = [one.encoder for (batch, _), one in self._writing.items() if batch != batch_id]
        wait(others)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{uuid.uuid4().hex}.part"
        encoder = self._pool.submit(self._write, decoding, decoding.frames, marks, path)
        with self._lock:
            self._writing[batch_id, index] = _Writing(decoding, marks, path, encoder)

    def finish(self, batch_id: str, index: int, name: str) -> MuxReport:
        """Wait for a clip's file, and call it `name`.

        Raises:
            EngineFault: the name is not a bare file name, the clip is not decoded, or its decode failed.
            DiskFull: there is no room for it.
            av.error.FFmpegError, OSError: the file could not be written.
        """
        if not BARE_NAME.fullmatch(name):
            raise EngineFault(f"{name!r} is not a bare file name of letters, digits, dots, dashes, underscores")
        with self._lock:
            one = self._writing.get((batch_id, index))
        if one is None:
            raise EngineFault(f"clip {index} of batch {batch_id} is not decoded")
        try:
            encoder = one.encoder.result()
        except OSError as error:  # FFmpeg's errors of the system are OSErrors, too
            if error.errno in NO_ROOM:
                raise DiskFull(
                    f"no room left in {self._folder} for a clip; free some, or give the disk more"
                ) from error
            raise
        finally:  # not before: `begin` waits for it
            with self._lock:
                self._writing.pop((batch_id, index), None)
        path, what, notice = one.path.replace(self._folder / name), one.decoding.delivery, one.decoding.notice
        frames, samples, size = len(what.chosen), what.num_samples, what.size
        num_bytes = path.stat().st_size
        marks = one.marks.names
        return MuxReport(str(path), num_bytes, frames, samples, size.width, size.height, notice, encoder.name, marks)

    def forget(self, batch_id: str) -> None:
        """Stop writing the batch's clips that were not finished, and remove what there is of them."""
        with self._lock:
            keys = [key for key in self._writing if key[0] == batch_id]
        self._discard(keys)

    def close(self) -> None:
        """Forget all clips and end the thread."""
        with self._lock:
            keys = list(self._writing)
        self._discard(keys)
        self._pool.shutdown()

    def _discard(self, keys: list[tuple[str, int]]) -> None:
        with self._lock:
            given_up = [self._writing.pop(key) for key in keys if key in self._writing]
        for one in given_up:
            one.decoding.fail(EngineFault("the clip was given up"))
        wait([one.encoder for one in given_up])
        for one in given_up:
            one.path.unlink(missing_ok=True)

    def _write(self, decoding: ClipDecoding, frames: FrameBuffer, marks: ClipMarks, path: Path) -> VideoEncoder:
        """On the thread: one clip's file, or none."""
        try:
            self._encode(decoding, frames, marks, path)
        except FFmpegError as error:
            path.unlink(missing_ok=True)
            if self._encoder is X264:
                raise
            logger.warning("%s failed, x264 takes over: %s", self._encoder.name, error)
            self._encoder = X264
            self._encode(decoding, frames, marks, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return self._encoder

    def _encode(self, decoding: ClipDecoding, frames: FrameBuffer, marks: ClipMarks, path: Path) -> None:
        what = decoding.delivery
        chosen = (frames.frame(index) for index in what.chosen)
        # Own ones: another encoder may have to begin anew with frames that bear no mark yet.
        pictures = marks.drawn_on(decoding.layout.pictures(chosen, own=marks.draws))
        write_mp4(path, pictures, lambda: what.audio(*decoding.sound.result()), what, self._encoder, marks.tags)
