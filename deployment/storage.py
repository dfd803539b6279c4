"""What disks say: errors told apart, room left, and how long an engine stays away from a store that failed it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hhray.errors import ArtifactsUnavailable, DiskFull

# No space, over quota, over the file size limit of the process.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
LONGEST_PAUSE_SECONDS = 300.0


def is_full(error: BaseException) -> bool:
    """Whether an error says that there is no room."""
    return isinstance(error, OSError) and error.errno in NO_ROOM


@contextmanager
def storage_errors(what: Path) -> Iterator[None]:
    """An OSError raised inside becomes DiskFull or ArtifactsUnavailable, with the path and what to do."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DiskFull(
                f"no room left to write {what} ({error.strerror}); free some, or give the disk more"
            ) from error
        raise ArtifactsUnavailable(f"cannot read or write {what} ({error}); expected a disk that answers") from error


def check_room(folders: Sequence[Path], min_free_bytes: int) -> None:
    """Check the disks of these folders, which need not exist yet.

    Raises:
        DiskFull: one has less than `min_free_bytes` left.
        ArtifactsUnavailable: one does not answer.
    """
    for folder in folders:
        there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
        with storage_errors(folder):
            free = shutil.disk_usage(there).free
        if free < min_free_bytes:
            raise DiskFull(
                f"the disk of {folder} has {free / 1e6:.0f} MB left, less than the {min_free_bytes / 1e6:.0f} MB of "
                "store.min_free_bytes; free some room"
            )


class StoragePause:
    """Pure: how long an engine takes no work after its clips could not be stored. Times are seconds of one clock.

    A clip is seconds of all GPUs: an engine that goes on making clips nobody can store empties the queue for nothing.
    """

    def __init__(self, first_seconds: float) -> None:
        self._first = first_seconds
        self._faults = 0
        self._until = float("-inf")

    def failed(self, now: float) -> float:
        """A clip could not be stored; returns for how many seconds to pause."""
        seconds = min(LONGEST_PAUSE_SECONDS, self._first * 2.0 ** min(self._faults, 16))
        self._faults += 1
        self._until = max(self._until, now + seconds)
        return seconds

    def stored(self) -> None:
        """A clip was stored: the next fault begins with the first pause again."""
        self._faults = 0

    def over(self, now: float) -> bool:
        """Whether work may be taken."""
        return now >= self._until
