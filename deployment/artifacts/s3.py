"""Files in an S3-compatible store, below one bucket and prefix.

A file is put in one request with its SHA-256, which the store checks; then it is read back (or, where
`store.s3.verify` says so, only its length is asked). Bytes stream from and to disks: none of a file's length is ever
held in memory.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import obstore

from deployment.artifacts.keys import WRITTEN_ONCE, check_key, kind_of, task_folders, tenant_slug
from deployment.artifacts.local_copies import LocalCopies
from deployment.artifacts.protocol import LONGEST_LINK_SECONDS, FileFacts, Fill, StoredFile
from deployment.artifacts.s3_client import TAKEN, open_client, s3_errors
from deployment.artifacts.s3_listing import S3Listing
from deployment.artifacts.served_as import disposition, media_type
from deployment.artifacts.signing import PathSigner
from hhray.errors import ArtifactsUnavailable, NotFound
from hhray.settings import Settings
from hhray.tasks import Artifact

if TYPE_CHECKING:
    from obstore import GetOptions

PIECE_BYTES = 1 << 20
COPIES = "copies"  # folder of local copies below the scratch directory


class S3Artifacts:
    """An ArtifactStore in a bucket."""

    def __init__(self, settings: Settings, secret: bytes) -> None:
        store, self._s3 = settings.store, settings.store.s3
        self._client = open_client(store.artifact_url, self._s3)
        public = self._s3.public_endpoint
        self._signing_client = open_client(store.artifact_url, self._s3, public) if public else self._client
        self._proxied = store.url_style == "proxied"
        self._signer = PathSigner(secret)
        self._copies = LocalCopies(settings.scratch_dir / COPIES, store.min_free_bytes)
        self._listing = S3Listing(self._client)

    def check_room(self) -> None:
        self._copies.check_room()

    def sweep(self) -> int:
        return self._copies.sweep()

    # --- in

    def put_file(self, key: str, path: Path) -> Artifact:
        with path.open("rb") as file:
            return self._put(key, file)

    def put_bytes(self, key: str, data: bytes) -> Artifact:
        return self.put_stream(key, lambda writer: writer.write(data))

    def put_stream(self, key: str, fill: Fill) -> Artifact:
        check_key(key)
        with self._copies.spool() as file:
            fill(file)
            file.flush()
            return self._put(key, file)

    def _put(self, key: str, file: BinaryIO) -> Artifact:
        """Put a whole file and see to it that the store has these bytes."""
        file.seek(0)
        digest = hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
        sent = Artifact(check_key(key), digest, os.fstat(file.fileno()).st_size)
        once = kind_of(key) in WRITTEN_ONCE
        attributes = {"Content-Type": media_type(key), "Content-Disposition": disposition(key), "sha256": digest}
        mode: Any = "create" if once and self._s3.conditional else "overwrite"
        try:
            with s3_errors(f"put {key}"), _mapped(file, sent.num_bytes) as data:
                obstore.put(self._client, key, data, attributes=attributes, mode=mode, use_multipart=False)
        except TAKEN:
            # An answer that was lost makes the next try find its own file.
            if self._stored(key) != sent:
                raise ArtifactsUnavailable(f"{key} holds other bytes already and is not overwritten") from None
            return sent
        except FileNotFoundError as error:  # of the store: a place that cannot be put to
            raise ArtifactsUnavailable(str(error)) from None
        if not self._has(sent):
            self.delete(key)  # nobody names it yet; another try must find its place free
            raise ArtifactsUnavailable(f"{key} reads back other bytes than were put; it is put again")
        return sent

    def _has(self, sent: Artifact) -> bool:
        """Whether the store has what was sent, in the way that is set."""
        if self._s3.verify == "read_back":
            return self._stored(sent.key) == sent
        found = self.facts(sent.key)
        return found is not None and found.num_bytes == sent.num_bytes

    def _stored(self, key: str) -> Artifact | None:
        """What the store has, read again; None: nothing."""
        digest, num_bytes = hashlib.sha256(), 0
        with suppress(FileNotFoundError):
            for piece in self._pieces(key):
                digest.update(piece)
                num_bytes += len(piece)
            return Artifact(key, digest.hexdigest(), num_bytes)
        return None

    def link(self, key: str, source_key: str) -> bool:
        try:
            with s3_errors(f"copy {source_key}"):  # within the store
                obstore.copy(self._client, check_key(source_key), check_key(key))
        except FileNotFoundError:
            return False
        return True

    # --- out

    def open_local(self, key: str) -> AbstractContextManager[Path]:
        def download(writer: BinaryIO) -> None:
            try:
                for piece in self._pieces(check_key(key)):
                    writer.write(piece)
            except FileNotFoundError:
                raise NotFound("Not found! A file of this task is gone.") from None

        return self._copies.open(check_key(key), download)

    def facts(self, key: str) -> FileFacts | None:
        try:
            with s3_errors(f"look at {key}"):
                found = obstore.head(self._client, check_key(key))
        except FileNotFoundError:
            return None
        return FileFacts(found["size"], found["e_tag"] or f'"{found["size"]:x}"', found["last_modified"].timestamp())

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        if start >= end:
            return iter(())
        return self._pieces(check_key(key), {"range": (start, end)})

    def _pieces(self, key: str, options: GetOptions | None = None) -> Iterator[bytes]:
        with s3_errors(f"read {key}"):
            for piece in obstore.get(self._client, key, options=options).stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)

    # --- away

    def delete(self, key: str) -> None:
        self._delete([check_key(key)])

    def delete_task(self, task_id: str, tenant: str | None = None) -> None:
        slugs = self._listing.slugs() if tenant is None else (tenant_slug(tenant),)
        self._delete([file.key for folder in task_folders(task_id, slugs) for file in self._listing.files(folder)])

    def delete_other_attempts(self, task_id: str, keep_key: str) -> None:
        folder = check_key(keep_key).rpartition("/")[0]
        if folder.endswith(f"/{task_id}"):
            self._delete([file.key for file in self._listing.files(folder) if file.key != keep_key])

    def folders(self) -> dict[str, float]:
        return self._listing.folders()

    def files(self, folder: str) -> list[StoredFile]:
        return self._listing.files(folder)

    def delete_file(self, file: StoredFile) -> None:
        if file in self.files(file.folder):  # written anew since it was listed, it is another one
            self._delete([file.key])

    def delete_folder(self, folder: str) -> None:
        self._delete([file.key for file in self._listing.files(folder)])

    def delete_uploads(self, written_before: float) -> int:
        old = self._listing.uploads_before(written_before)
        self._delete([file.key for file in old])
        return len(old)

    def _delete(self, keys: list[str]) -> None:
        for key in keys:  # one by one: not every store knows the request for many
            with s3_errors(f"remove {key}"), suppress(FileNotFoundError):
                obstore.delete(self._client, key)

    # --- links

    def signed_path(self, key: str, ttl_seconds: float, now: float) -> str:
        return self._signer.path(key, min(ttl_seconds, LONGEST_LINK_SECONDS), now)

    def download_url(self, key: str, ttl_seconds: float, now: float, base_url: str) -> str:
        if self._proxied:
            return base_url + self.signed_path(key, ttl_seconds, now)
        seconds = max(1, int(min(ttl_seconds, LONGEST_LINK_SECONDS)))
        with s3_errors(f"sign a URL of {key}"):
            return str(obstore.sign(self._signing_client, "GET", check_key(key), timedelta(seconds=seconds)))

    def verify(self, key: str, expires: str, signature: str, now: float) -> bool:
        return self._signer.verify(key, expires, signature, now)


@contextmanager
def _mapped(file: BinaryIO, num_bytes: int) -> Iterator[Any]:
    """The bytes of a file as a buffer that is the disk's, not this process's: they are read as they are sent."""
    if not num_bytes:
        yield b""
        return
    with mmap.mmap(file.fileno(), num_bytes, access=mmap.ACCESS_READ) as data:
        yield data
