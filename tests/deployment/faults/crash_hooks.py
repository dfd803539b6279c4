"""Proxies that end their own process, by SIGKILL, at a named instant around or inside a verb."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from deployment.artifacts import DirectoryArtifacts
from hhray.tasks import Artifact


class Crash:
    """Sends this process a signal when the instant `point` is first reached, having noted its name in `note`. No
    point: never.

    A process that is stopped has no transaction open, in any thread: one that had would hold up the whole SQLite file
    until it goes on, and its row in PostgreSQL until the server ends its session.
    """

    def __init__(self, point: str, note: str, by: str = "SIGKILL") -> None:
        self._point, self._note, self._signal = point, note, signal.Signals[by]
        self.transactions = threading.RLock()

    def reach(self, point: str) -> None:
        if point == self._point:
            self._point = ""
            with self.transactions:
                Path(self._note).write_text(point, encoding="utf-8")
                # to this thread, so that it never gets as far as the end of this block before all are stopped
                signal.pthread_kill(threading.get_ident(), self._signal)


class Hooked:
    """Any object, with `before <verb>` and `after <verb>` reached around the calls of its verbs."""

    def __init__(self, inner: Any, crash: Crash, verbs: str) -> None:
        self._inner, self._crash, self._verbs = inner, crash, frozenset(verbs.split())

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in self._verbs:
            return value

        def call(*args: Any, **named: Any) -> Any:
            self._crash.reach(f"before {name}")
            result = value(*args, **named)
            self._crash.reach(f"after {name}")
            return result

        return call


class UncommittedDatabase:
    """A database whose write transactions reach `uncommitted <verb>` when all is written and nothing committed."""

    def __init__(self, inner: Any, crash: Crash, verb: Callable[[], str]) -> None:
        self._inner, self._crash, self._verb = inner, crash, verb

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextmanager
    def write(self, *args: Any, **named: Any) -> Iterator[Any]:
        with self._crash.transactions, self._inner.write(*args, **named) as transaction:
            yield transaction
            self._crash.reach(f"uncommitted {self._verb()}")


def hooked_store(store: Any, crash: Crash, verbs: str) -> Any:
    """A store with instants before, inside and after each of these verbs."""
    running = threading.local()  # a keeper renews beside the verb that is to be caught

    class Verbs(Hooked):
        def __getattr__(self, name: str) -> Any:
            value = super().__getattr__(name)
            if name not in self._verbs:
                return value

            def call(*args: Any, **named: Any) -> Any:
                running.verb = name
                try:
                    return value(*args, **named)
                finally:
                    running.verb = ""

            return call

    store._database = UncommittedDatabase(store._database, crash, lambda: getattr(running, "verb", ""))
    return Verbs(store, crash, verbs)


class HalfUploads(DirectoryArtifacts):
    """A real directory that reaches `half an upload` when half of a file's bytes are on the disk."""

    crash: Crash

    def put_file(self, key: str, path: Path) -> Artifact:
        data = path.read_bytes()

        def fill(writer: BinaryIO) -> None:
            writer.write(data[: len(data) // 2])
            writer.flush()
            self.crash.reach("half an upload")
            writer.write(data[len(data) // 2 :])

        return self.put_stream(key, fill)
