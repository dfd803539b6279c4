"""What engine, ingress and janitor need of a store of files, wherever the files lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from deployment.artifacts.keys import kind_of
from hhray.tasks import Artifact

# S3 signs for no longer (Signature Version 4), so nobody does.
LONGEST_LINK_SECONDS = 7 * 86400.0

Fill = Callable[[BinaryIO], object]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it lies in the store: `<folder>/<name>`, and when it was last written, in seconds since the epoch."""

    folder: str
    name: str
    written_at: float

    @property
    def key(self) -> str:
        return f"{self.folder}/{self.name}"

    @property
    def kind(self) -> str:
        return kind_of(self.folder)

    @property
    def task_id(self) -> str:
        return self.folder.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a download needs to know before the first byte. `etag` is quoted, as in RFC 9110; `written_at` is seconds
    since the epoch."""

    num_bytes: int
    etag: str
    written_at: float


class ArtifactStore(Protocol):
    """A store of files by key. Every verb blocks; a key this server did not make raises ValueError.

    Raises:
        ArtifactsUnavailable: from every verb, when the store does not answer or refuses.
    """

    def check_room(self) -> None:
        """Raises DiskFull, or ArtifactsUnavailable, when no new file should be put in."""

    def sweep(self) -> int:
        """Remove local copies that dead processes of this machine left: how many files."""

    def put_file(self, key: str, path: Path) -> Artifact:
        """Copy a file in, whole or not at all; the record is of the bytes as they lie in the store.

        Raises:
            DiskFull, ArtifactsUnavailable: the store took no file; nothing of it is left. A clip or an upload is
                written once: other bytes under its key are refused so, the same are accepted.
        """

    def put_bytes(self, key: str, data: bytes) -> Artifact:
        """The same for bytes in memory."""

    def put_stream(self, key: str, fill: Fill) -> Artifact:
        """The same for bytes that come piece by piece: `fill` writes them; what it raises leaves no file."""

    def link(self, key: str, source_key: str) -> bool:
        """The bytes of `source_key` as a file of their own under `key`, an input's; False when there are none."""

    def open_local(self, key: str) -> AbstractContextManager[Path]:
        """The file on a disk of this machine, while the context lasts; all processes of the machine share one copy.

        Raises:
            NotFound: the file is gone.
            DiskFull: there is no room for a copy.
        """

    def facts(self, key: str) -> FileFacts | None:
        """What is known of a file; None: it is not there."""

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to, not including, `end`, piece by piece."""

    def delete(self, key: str) -> None:
        """Remove one file, if it is there."""

    def delete_task(self, task_id: str, tenant: str | None = None) -> None:
        """Remove all files of a task, or of an upload. Without its tenant, every tenant's folders are searched: that
        costs requests for each where the store is elsewhere."""

    def delete_other_attempts(self, task_id: str, keep_key: str) -> None:
        """Remove all clips of a task but this one."""

    def folders(self) -> dict[str, float]:
        """Folders of tasks that hold files, each with a mark that changes when a file comes or goes. Where there are
        very many a call returns some of them, and the next one goes on from there."""

    def files(self, folder: str) -> list[StoredFile]:
        """The files of one of `folders`, half-written ones among them."""

    def delete_file(self, file: StoredFile) -> None:
        """Remove one of `files`, if it is still there."""

    def delete_folder(self, folder: str) -> None:
        """Remove one of `folders` with all that is in it."""

    def delete_uploads(self, written_before: float) -> int:
        """Remove uploads written before that time, seconds since the epoch: how many."""

    def signed_path(self, key: str, ttl_seconds: float, now: float) -> str:
        """Path and query by which the file can be downloaded from this server until `now + ttl_seconds`."""

    def download_url(self, key: str, ttl_seconds: float, now: float, base_url: str) -> str:
        """URL by which the file can be downloaded until `now + ttl_seconds`, and for seven days at most: from this
        server, which is reached at `base_url`, or from the store itself."""

    def verify(self, key: str, expires: str, signature: str, now: float) -> bool:
        """Whether a download from this server was signed here and has not run out."""
