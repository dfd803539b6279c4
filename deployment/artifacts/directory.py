"""Files in a directory of this machine, or one that all machines mount."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deployment.artifacts.keys import (
    KINDS,
    TASK_KINDS,
    UPLOADS,
    WRITTEN_ONCE,
    check_folder,
    check_key,
    is_slug,
    is_task_id,
    kind_of,
    task_folders,
    tenant_slug,
)
from deployment.artifacts.protocol import LONGEST_LINK_SECONDS, FileFacts, Fill, StoredFile
from deployment.artifacts.signing import PathSigner
from deployment.storage import check_room, storage_errors
from hhray.errors import ArtifactsUnavailable, NotFound
from hhray.tasks import Artifact

PIECE_BYTES = 1 << 20
# What a file system without hard links says.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class DirectoryArtifacts:
    """An ArtifactStore in a directory."""

    def __init__(self, root: Path, secret: bytes, min_free_bytes: int = 0) -> None:
        self._root = root
        self._signer = PathSigner(secret)
        self._min_free_bytes = min_free_bytes

    def check_room(self) -> None:
        check_room([self._root], self._min_free_bytes)

    def sweep(self) -> int:
        return 0  # it makes no copies

    # --- in

    def put_file(self, key: str, path: Path) -> Artifact:
        with path.open("rb") as reader:
            return self.put_stream(key, lambda writer: shutil.copyfileobj(reader, writer, PIECE_BYTES))

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
                _put_in_place(temporary, path, once=kind_of(key) in WRITTEN_ONCE)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_directory(path.parent)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return Artifact(key, digest, os.fstat(file.fileno()).st_size)

    def link(self, key: str, source_key: str) -> bool:
        path, source = self.local_path(key), self.local_path(source_key)
        with storage_errors(path):
            if not source.is_file():
                return False
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                os.utime(source)  # both names have one age, and that of an orphan would let the new one be collected
                os.link(source, path)  # no file is ever written in place, so neither changes the other
            except FileNotFoundError:
                return False
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                self.put_file(key, source)
            _sync_directory(path.parent)
        return True

    # --- out

    def local_path(self, key: str) -> Path:
        """Where the file can be read on this machine; it need not be there."""
        return self._root / check_key(key)

    @contextmanager
    def open_local(self, key: str) -> Iterator[Path]:
        path = self.local_path(key)
        if not path.is_file():
            if not (self._root / kind_of(key)).is_dir():
                raise ArtifactsUnavailable(f"{self._root} is away; expected the directory of store.artifact_dir")
            raise NotFound("Not found! A file of this task is gone.")
        yield path

    def facts(self, key: str) -> FileFacts | None:
        path = self.local_path(key)
        with storage_errors(path):
            try:
                found = path.stat()
            except FileNotFoundError:
                return None
        return FileFacts(found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"', found.st_mtime)

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        path = self.local_path(key)
        with storage_errors(path), path.open("rb") as file:
            file.seek(start)
            while start < end and (piece := file.read(min(PIECE_BYTES, end - start))):
                start += len(piece)
                yield piece

    # --- away

    def delete(self, key: str) -> None:
        # The directory stays until `delete_task`: another attempt may be about to write into it.
        path = self.local_path(key)
        with storage_errors(path):
            path.unlink(missing_ok=True)

    def delete_task(self, task_id: str, tenant: str | None = None) -> None:
        slugs = self._slugs(KINDS) if tenant is None else (tenant_slug(tenant),)
        for folder in task_folders(task_id, slugs):
            shutil.rmtree(self._root / folder, ignore_errors=True)

    def delete_other_attempts(self, task_id: str, keep_key: str) -> None:
        keep = self.local_path(keep_key)
        for path in keep.parent.glob("*.mp4"):
            if path != keep and keep.parent.name == task_id:
                path.unlink(missing_ok=True)

    def folders(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for kind in TASK_KINDS:
            found |= self._folders_of(kind)
        return found

    def files(self, folder: str) -> list[StoredFile]:
        check_folder(folder)
        found = []
        with suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    found.append(StoredFile(folder, entry.name, entry.stat().st_mtime))
        return found

    def delete_file(self, file: StoredFile) -> None:
        if file in self.files(file.folder):  # nothing but a file of that folder: no way out of it
            (self._root / file.folder / file.name).unlink(missing_ok=True)

    def delete_folder(self, folder: str) -> None:
        check_folder(folder)
        shutil.rmtree(self._root / folder, ignore_errors=True)

    def delete_uploads(self, written_before: float) -> int:
        count = 0
        for folder in self._folders_of(UPLOADS):
            files = self.files(folder)
            old = [file for file in files if file.written_at < written_before]
            for file in old:
                self.delete_file(file)
            if len(old) == len(files):
                with suppress(OSError):  # a file came meanwhile
                    (self._root / folder).rmdir()
            count += len(old)
        return count

    # --- links

    def signed_path(self, key: str, ttl_seconds: float, now: float) -> str:
        return self._signer.path(key, min(ttl_seconds, LONGEST_LINK_SECONDS), now)

    def download_url(self, key: str, ttl_seconds: float, now: float, base_url: str) -> str:
        return base_url + self.signed_path(key, ttl_seconds, now)

    def verify(self, key: str, expires: str, signature: str, now: float) -> bool:
        return self._signer.verify(key, expires, signature, now)

    # --- folders

    def _folders_of(self, kind: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for below in (kind, *(f"{kind}/{slug}" for slug in self._slugs((kind,)))):
            with suppress(FileNotFoundError), os.scandir(self._root / below) as entries:
                for entry in entries:
                    if is_task_id(entry.name):
                        with suppress(FileNotFoundError):
                            found[f"{below}/{entry.name}"] = entry.stat().st_mtime
        return found

    def _slugs(self, kinds: tuple[str, ...]) -> tuple[str, ...]:
        found: set[str] = set()
        for kind in kinds:
            with suppress(FileNotFoundError), os.scandir(self._root / kind) as entries:
                found.update(entry.name for entry in entries if is_slug(entry.name))
        return tuple(sorted(found))


def _put_in_place(temporary: Path, path: Path, *, once: bool) -> None:
    """Give a complete file its name.

    Raises:
        ArtifactsUnavailable: there is another one of that name, of a kind that is written once.
    """
    if not once:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # unlike a rename it never takes the place of a file
    except FileExistsError:
        if not _same_bytes(temporary, path):
            raise ArtifactsUnavailable(f"{path} holds other bytes already and is not overwritten") from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        temporary.replace(path)  # the key names the attempt: nobody else writes it


def _same_bytes(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        return hashlib.file_digest(first, "sha256").digest() == hashlib.file_digest(second, "sha256").digest()


def _sync_directory(path: Path) -> None:
    """Make a rename durable: the entry belongs to the directory, not to the file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
