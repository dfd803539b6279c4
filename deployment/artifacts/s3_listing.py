"""What lies in a bucket, looked at in pages, so much at a time."""

from __future__ import annotations

from collections.abc import Iterator

import obstore
from obstore.store import S3Store

from deployment.artifacts.keys import KINDS, TASK_KINDS, UPLOADS, check_folder, is_slug
from deployment.artifacts.protocol import StoredFile
from deployment.artifacts.s3_client import s3_errors

PAGE_FILES = 1000  # what one request lists
MOST_FILES = 10_000  # what one call of `folders` or `uploads_before` looks at, and the rest of the last folder


class S3Listing:
    """Lists the files below a client's prefix. `most_files` bounds the work of one call over all of them."""

    def __init__(self, client: S3Store, most_files: int = MOST_FILES) -> None:
        self._client, self._most_files = client, most_files
        self._kind, self._last = 0, ""  # where the last call of `folders` ended
        self._last_upload = ""

    def files(self, folder: str) -> list[StoredFile]:
        """The files of one folder."""
        return [file for file in self._below(check_folder(folder)) if file.folder == folder]

    def folders(self) -> dict[str, float]:
        """Folders of tasks with their marks: `most_files` files further than the last call, then from the start."""
        found: dict[str, float] = {}
        count = 0
        while self._kind < len(TASK_KINDS):
            for file in self._below(TASK_KINDS[self._kind], self._last):
                if count >= self._most_files and file.folder not in found:
                    return found
                found[file.folder] = found.get(file.folder, 0.0) + 1.0 + file.written_at
                self._last = file.key
                count += 1
            self._kind, self._last = self._kind + 1, ""
        self._kind = 0
        return found

    def uploads_before(self, written_before: float) -> list[StoredFile]:
        """Uploads written before that time, among the next `most_files`."""
        old: list[StoredFile] = []
        for count, file in enumerate(self._below(UPLOADS, self._last_upload)):
            if count >= self._most_files:
                return old
            self._last_upload = file.key
            if file.written_at < written_before:
                old.append(file)
        self._last_upload = ""
        return old

    def slugs(self) -> tuple[str, ...]:
        """Folders of tenants, of whatever kind."""
        found: set[str] = set()
        for kind in KINDS:
            with s3_errors(f"list {kind}"):
                below = obstore.list_with_delimiter(self._client, kind)["common_prefixes"]
            found.update(name for prefix in below if is_slug(name := prefix.rstrip("/").rpartition("/")[2]))
        return tuple(sorted(found))

    def _below(self, prefix: str, after: str = "") -> Iterator[StoredFile]:
        with s3_errors(f"list {prefix}"):
            for page in obstore.list(self._client, prefix, offset=after or None, chunk_size=PAGE_FILES):
                for one in page:
                    folder, _, name = one["path"].rpartition("/")
                    yield StoredFile(folder, name, one["last_modified"].timestamp())
