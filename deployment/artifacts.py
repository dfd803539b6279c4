"""Files of tasks - inputs and clips - and of uploads, and the signed paths clips are downloaded by.

Keys are made by the server only: `inputs/<task>/<index>`, `clips/<task>/<attempt>.mp4`, `previews/<task>/<name>` and
`uploads/<id>/file`. A clip's key names the attempt, so that two owners of one task never write the same file.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from deployment.storage import check_room, storage_errors
from hhray.tasks import Artifact

_KEY = re.compile(r"[a-z]+/[0-9a-f-]{36}/[A-Za-z0-9_-][A-Za-z0-9._-]*")
_TASK_ID = re.compile(r"[0-9a-f-]{36}")
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK})  # of file systems without hard links
_KINDS = ("inputs", "clips", "uploads", "previews")

Fill = Callable[[BinaryIO], object]


def input_key(task_id: str, index: int = 0) -> str:
    """Key of a task's media file."""
    return f"inputs/{task_id}/{index}"


def clip_key(task_id: str, attempt: int) -> str:
    """Key of the clip one attempt makes."""
    return f"clips/{task_id}/{attempt}.mp4"


def upload_key(upload_id: str) -> str:
    """Key of a file a client has uploaded; the client's name for it is no part of it."""
    return f"uploads/{upload_id}/file"


def preview_key(task_id: str, name: str) -> str:
    """Key of a picture made from a task's clip when somebody asked for it."""
    return f"previews/{task_id}/{name}"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it lies in the store: `kind/task/name`, and when it was last written, in seconds since the epoch."""

    kind: str
    name: str
    written_at: float


class ArtifactStore(Protocol):
    """What engine and ingress need of a store of files. Keys are validated; a bad one raises ValueError."""

    def check_room(self) -> None:
        """Raises DiskFull, or ArtifactsUnavailable, when no new file should be put in."""

    def put_file(self, key: str, path: Path) -> Artifact:
        """Copy a file in, whole or not at all; the record is of the bytes as they lie in the store.

        Raises:
            DiskFull, ArtifactsUnavailable: the store took no file; nothing of it is left.
        """

    def put_bytes(self, key: str, data: bytes) -> Artifact:
        """The same for bytes in memory."""

    def put_stream(self, key: str, fill: Fill) -> Artifact:
        """The same for bytes that come piece by piece: `fill` writes them; what it raises leaves no file."""

    def link(self, key: str, source_key: str) -> bool:
        """The bytes of `source_key` as a file of their own under `key`; False when there is no such file."""

    def local_path(self, key: str) -> Path:
        """Where the file can be read on this machine; it need not be there."""

    def delete(self, key: str) -> None:
        """Remove one file, if it is there."""

    def delete_task(self, task_id: str) -> None:
        """Remove all files of a task."""

    def delete_other_attempts(self, task_id: str, keep_key: str) -> None:
        """Remove all clips of a task but this one."""

    def folders(self) -> dict[str, float]:
        """Ids of tasks that have files, with a mark that changes when a file comes or goes."""

    def files(self, task_id: str) -> list[StoredFile]:
        """A task's files, half-written ones among them."""

    def delete_file(self, task_id: str, file: StoredFile) -> None:
        """Remove one of `files`, if it is still there."""

    def signed_path(self, key: str, ttl_seconds: float, now: float) -> str:
        """Path and query by which the file can be downloaded from this server until `now + ttl_seconds`."""

    def verify(self, key: str, expires: str, signature: str, now: float) -> bool:
        """Whether a download was signed here and has not run out."""


class DirectoryArtifacts:
    """An ArtifactStore in a directory of this machine (or one that all machines mount)."""

    def __init__(self, root: Path, secret: bytes, min_free_bytes: int = 0) -> None:
        self._root = root
        self._secret = secret
        self._min_free_bytes = min_free_bytes

    def check_room(self) -> None:
        check_room([self._root], self._min_free_bytes)

    def put_file(self, key: str, path: Path) -> Artifact:
        with path.open("rb") as reader:
            return self.put_stream(key, lambda writer: shutil.copyfileobj(reader, writer, 1 << 20))

    def put_bytes(self, key: str, data: bytes) -> Artifact:
        return self.put_stream(key, lambda writer: writer.write(data))

    def put_stream(self, key: str, fill: Fill) -> Artifact:
        path = self.local_path(key)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            try:
                with temporary.open("xb") as writer:
                    fill(writer)
                    writer.flush()
                    os.fsync(writer.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_directory(path.parent)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return Artifact(key, digest, os.fstat(file.fileno()).st_size)

    def link(self, key: str, source_key: str) -> bool:
        path, source = self.local_path(key), self.local_path(source_key)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                os.utime(source)  # young again, or the copy would look like an orphan until its task is committed
                os.link(source, path)  # no file is ever written in place: the two do not know of each other
            except FileNotFoundError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self.put_file(key, source)
            _sync_directory(path.parent)
            return True

    def local_path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("not an artifact key")
        return self._root / key

    def delete(self, key: str) -> None:
        # The directory stays until `delete_task`: another attempt may be about to write into it.
        self.local_path(key).unlink(missing_ok=True)

    def delete_task(self, task_id: str) -> None:
        if not _TASK_ID.fullmatch(task_id):
            raise ValueError("not a task id")
        for kind in _KINDS:
            shutil.rmtree(self._root / kind / task_id, ignore_errors=True)

    def delete_other_attempts(self, task_id: str, keep_key: str) -> None:
        keep = self.local_path(keep_key)
        for path in self.local_path(clip_key(task_id, 0)).parent.glob("*.mp4"):
            if path != keep:
                path.unlink(missing_ok=True)

    def folders(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for kind in _KINDS:
            with suppress(FileNotFoundError), os.scandir(self._root / kind) as entries:
                for entry in entries:
                    if _TASK_ID.fullmatch(entry.name):
                        with suppress(FileNotFoundError):
                            found[entry.name] = found.get(entry.name, 0.0) + entry.stat().st_mtime
        return found

    def files(self, task_id: str) -> list[StoredFile]:
        if not _TASK_ID.fullmatch(task_id):
            raise ValueError("not a task id")
        found = []
        for kind in _KINDS:
            with suppress(FileNotFoundError), os.scandir(self._root / kind / task_id) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        found.append(StoredFile(kind, entry.name, entry.stat().st_mtime))
        return found

    def delete_file(self, task_id: str, file: StoredFile) -> None:
        if file in self.files(task_id):  # nothing but a file of that task: no way out of its folder
            (self._root / file.kind / task_id / file.name).unlink(missing_ok=True)

    def signed_path(self, key: str, ttl_seconds: float, now: float) -> str:
        expires = str(int(now + ttl_seconds))
        return f"/artifacts/{key}?Expires={expires}&Signature={self._signature(key, expires)}"

    def verify(self, key: str, expires: str, signature: str, now: float) -> bool:
        if not re.fullmatch(r"[0-9]{1,12}", expires):
            return False
        right = hmac.compare_digest(self._signature(key, expires).encode(), signature.encode("utf-8", "replace"))
        return right and now < int(expires)

    def _signature(self, key: str, expires: str) -> str:
        message = f"artifact:{key}\n{expires}".encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()


def _sync_directory(path: Path) -> None:
    """Make a rename durable: the entry belongs to the directory, not to the file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
