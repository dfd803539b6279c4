"""A create is let in without counting all tasks, and never one too many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from deployment import router_hints
from deployment.backlog import Backlog
from deployment.router_hints import RouterHints
from deployment.store.sqlite import SqliteStore
from hhray.errors import Throttled
from hhray.tasks import QueueDepth, Task


class CountedStore:
    """Counts how often the queue's depth is asked for."""

    def __init__(self, store: SqliteStore) -> None:
        self.store, self.readings = store, 0

    def depth(self) -> QueueDepth:
        self.readings += 1
        return self.store.depth()


def test_a_replica_lets_in_exactly_as_many_as_are_kept(task_store: SqliteStore, add_task: Callable[..., Task]) -> None:
    counted: Any = CountedStore(task_store)
    backlog = Backlog(counted, 5)
    for _ in range(5):
        backlog.check()
        add_task()
    assert counted.readings == 1, "the others were added up"
    with pytest.raises(Throttled, match="5"):
        backlog.check()
    task_store.cancel_pending(task_store.queued()[0].task_id, None)
    backlog.check()  # counted anew as soon as it is full


class Router:
    """Stands for the handle of Serve."""

    def __init__(self) -> None:
        self.kicks, self.kick = 0, self

    def remote(self) -> None:
        self.kicks += 1
        raise RuntimeError("no router yet")


def test_many_creates_at_once_are_one_hint_at_once_and_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    router, gap, stop = Router(), threading.Event(), threading.Event()
    monkeypatch.setattr(router_hints, "pause", lambda _: gap.wait(5))
    hints = RouterHints(router)  # type: ignore[arg-type]
    sender = threading.Thread(target=hints.serve, args=(stop,))
    sender.start()
    hints.kick("a")
    while not router.kicks:
        pass
    for _ in range(100):
        hints.kick("b")
    assert router.kicks == 1
    gap.set()
    end = time.monotonic() + 5
    while router.kicks < 2 and time.monotonic() < end:
        pass
    stop.set()
    sender.join(5)
    assert (sender.is_alive(), router.kicks) == (False, 2)
