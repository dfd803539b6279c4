"""A store in a fresh file, and short ways to fill it."""

from __future__ import annotations

import itertools

import pytest

from deployment.store.sqlite import SqliteStore
from hhray.request import ClipRequest, Mode
from hhray.tasks import Artifact, NewTask


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tasks.sqlite3"


@pytest.fixture
def store(path):
    opened = SqliteStore(path)
    yield opened
    opened.close()


@pytest.fixture
def request_of():
    def build(**values):
        return ClipRequest(**{"model": "happyhorse-1.0-t2v", "mode": Mode.T2V, "prompt": "a horse at dawn", **values})

    return build


@pytest.fixture
def new_task(request_of):
    """Builds a NewTask: task ids t0, t1, ... unless given; keywords of NewTask or `clip` for the request."""
    numbers = itertools.count()

    def build(clip=None, **values):
        plain = {
            "tenant": "alice",
            "request": request_of(**(clip or {})),
            "request_id": "r",
            "gpu_seconds": 10.0,
            "ready": True,
            "ttl_seconds": 1000.0,
        }
        task_id = values.pop("task_id", None) or f"t{next(numbers)}"
        return NewTask(task_id=task_id, **{**plain, **values})

    return build


@pytest.fixture
def create(store, new_task):
    return lambda clip=None, **values: store.create(new_task(clip, **values))


@pytest.fixture
def artifact():
    return Artifact(key="t/1.mp4", sha256="ab" * 32, num_bytes=1234)


@pytest.fixture
def events(store):
    """How many ended tasks the metrics know, by outcome."""

    def count():
        outcomes = {}
        for row in store.metric_rows():
            if row.metric == "hhray_clip_seconds":
                outcomes[row.labels[3]] = outcomes.get(row.labels[3], 0) + row.count
        return outcomes

    return count
