"""Copies of far files on a disk of this machine, shared by its processes for as long as one of them uses them.

Locks are the kernel's (flock(2)), so a process that dies holds none. A copy is in use while somebody has a shared lock
on it. Whoever makes or removes one holds the lock of its stripe, so that two never download the same file, none sees
half of one, and none is removed while another process opens it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from deployment.storage import check_room, storage_errors

Download = Callable[[BinaryIO], object]


class LocalCopies:
    """The copies in one folder; a copy needs `min_free_bytes` left on its disk."""

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self.folder, self._min_free_bytes = folder, min_free_bytes

    def check_room(self) -> None:
        """Raises DiskFull, or ArtifactsUnavailable, when no copy should be made."""
        check_room([self.folder], self._min_free_bytes)

    @contextmanager
    def open(self, key: str, download: Download) -> Iterator[Path]:
        """The copy of a file: there already, or made by `download`. It is removed when its last user leaves.

        Raises:
            DiskFull, ArtifactsUnavailable: there is no room for it; and what `download` raises.
        """
        path = self.folder / hashlib.sha256(key.encode()).hexdigest()
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._stripe(path):
                descriptor = self._use(path, download)
        try:
            yield path
        finally:
            with storage_errors(self.folder), self._stripe(path):
                os.close(descriptor)
                _remove_unused(path)

    @contextmanager
    def spool(self) -> Iterator[BinaryIO]:
        """A nameless file, for bytes on their way to the store: gone with its last descriptor, whatever happens."""
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                yield file

    def sweep(self) -> int:
        """Remove what dead processes left: how many files."""
        count = 0
        with storage_errors(self.folder):
            for path in list(self.folder.glob("*")):
                if path.suffix != ".lock":
                    with suppress(BlockingIOError), self._stripe(path, fcntl.LOCK_NB):  # somebody downloads
                        count += _remove_unused(path)
        return count

    def _use(self, path: Path, download: Download) -> int:
        """A descriptor that holds the copy in use; the stripe is locked."""
        if not path.exists():
            self.check_room()
            half = path.with_suffix(".half")
            try:
                with half.open("wb") as writer:
                    download(writer)
                half.replace(path)
            finally:
                half.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor

    @contextmanager
    def _stripe(self, path: Path, how: int = 0) -> Iterator[None]:
        """The lock of one in 256 of all copies: a bounded number of lock files, which are never removed."""
        with (self.folder / f"{path.name[:2]}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | how)
            yield


def _remove_unused(path: Path) -> bool:
    """Remove a file that nobody uses; the stripe is locked."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink()
        return True
    return False
