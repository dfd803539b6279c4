"""One file from a hub: streamed into a `.part` file, resumed where it broke off, checked, then renamed."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import httpx

from engine.byte_progress import Advance
from engine.fetch.hubs import RemoteFile, check_answer
from hhray.errors import ConfigError, ServerUnreachable

CHUNK_BYTES = 1024**2
MAX_FAILURES = 6  # in a row without a byte between them


def download(http: httpx.Client, file: RemoteFile, folder: Path, advance: Advance, pause_seconds: float) -> Path:
    """The file below `folder`; one that is there in full size was checked when it came and is left alone.

    After a failure it goes on where it stopped, at first after `pause_seconds`, then after twice as long each time.

    Raises:
        ServerUnreachable: six failures in a row. What came is kept; the next run goes on from there.
        ConfigError: the hub refuses, or the bytes are not those of its listing; they are deleted.
    """
    target = folder / file.path
    if target.is_file() and target.stat().st_size == file.size:
        advance(file.size)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    _Transfer(http, file, part, advance).run(pause_seconds)
    part.replace(target)
    return target


class _Transfer:
    """Bytes of one file on their way, and the checksum of those that came."""

    def __init__(self, http: httpx.Client, file: RemoteFile, part: Path, advance: Advance) -> None:
        self.http, self.file, self.part, self.advance = http, file, part, advance
        self.done = 0
        self.digest = self._new_digest()

    def run(self, pause_seconds: float) -> None:
        self._take_up()
        failures = 0
        while self.done < self.file.size:
            before = self.done
            try:
                self._stream()
            except (httpx.TransportError, ServerUnreachable) as error:
                failures = failures + 1 if self.done == before else 1
                if failures >= MAX_FAILURES:
                    raise ServerUnreachable(
                        f"{self.file.path} stopped at {self.done:,} of {self.file.size:,} bytes: {error}; "
                        "run the command again to go on"
                    ) from error
                time.sleep(pause_seconds * 2 ** (failures - 1))
        self._check()

    def _take_up(self) -> None:
        """Count and digest what an earlier run left."""
        self.part.touch()
        if self.part.stat().st_size > self.file.size:
            self.part.write_bytes(b"")
        with self.part.open("rb") as kept:
            while data := kept.read(CHUNK_BYTES):
                self._count(data)

    def _stream(self) -> None:
        """One connection. A shorter body than announced ends it as a transport error."""
        headers = {"range": f"bytes={self.done}-"} if self.done else {}
        # identity: a compressed body could be neither counted nor resumed
        with self.http.stream("GET", self.file.url, headers=headers | {"accept-encoding": "identity"}) as answer:
            check_answer(answer, self.file.path)
            if self.done and answer.status_code != 206:
                self._start_over()
            with self.part.open("ab") as out:
                for data in answer.iter_raw():  # as it comes: gathered chunks would be lost with the connection
                    out.write(data)
                    self._count(data)
                    if self.done > self.file.size:
                        break
        if self.done < self.file.size:
            raise ServerUnreachable("the hub ended the file early")

    def _start_over(self) -> None:
        """The hub ignored the range: what came so far comes again."""
        self.part.write_bytes(b"")
        self.advance(-self.done)
        self.done, self.digest = 0, self._new_digest()

    def _count(self, data: bytes) -> None:
        self.done += len(data)
        self.digest.update(data)
        self.advance(len(data))

    def _new_digest(self) -> hashlib._Hash:
        if self.file.sha256:
            return hashlib.sha256()
        # git's id of a blob; the hub gives no other for small files
        return hashlib.sha1(f"blob {self.file.size}\0".encode(), usedforsecurity=False)

    def _check(self) -> None:
        expected = self.file.sha256 or self.file.sha1
        if self.done != self.file.size or self.digest.hexdigest() != expected:
            self.part.unlink()
            raise ConfigError(
                f"{self.file.path} is not what the hub lists: expected {self.file.size:,} bytes with checksum "
                f"{expected}, got {self.done:,} with {self.digest.hexdigest()}; it was deleted, fetch it again"
            )
