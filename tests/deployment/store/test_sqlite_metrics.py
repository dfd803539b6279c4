"""What the events table of the SQLite file holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def end(store, create, artifact):
    """Creates a task and lets it succeed."""

    def build():
        task_id = create().task_id
        (claim,) = store.claim([task_id], "e", 100)
        return store.publish(task_id, "e", claim.fence, artifact, {}, "")

    return build


def test_folding_empties_the_events_table(store, end, path):
    end()
    assert store.fold() == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_an_event_below_the_watermark_is_not_counted_again(store, end, events, path):
    end()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TEMP TABLE copies AS SELECT * FROM events")
        store.fold()
        connection.execute("INSERT INTO events SELECT * FROM copies")
    assert events() == {"succeeded": 1}
    assert store.fold() == 0
    end()
    assert store.fold() == 1
    assert events() == {"succeeded": 2}
