"""Events and rollup: counts and sums are exact, folded or not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hhray.metrics import BUCKETS_SECONDS
from hhray.tasks import Task, TaskState

FOLDER = """
import json, sys
from pathlib import Path
from deployment.store import open_store
from hhray.settings import load_settings
store, folded = open_store(load_settings(overrides=json.loads(sys.argv[1]))), 0
print("ready", flush=True)
while not Path(sys.argv[2]).exists():
    folded += store.fold()
print(folded + store.fold(), flush=True)
store.close()
"""


@pytest.fixture
def end(store, create, artifact):
    """Creates a task, lets it succeed with the given stage seconds, and returns it."""

    def build(stages=None, **values) -> Task:
        task_id = create(**values).task_id
        (claim,) = store.claim([task_id], "e", 100)
        return store.publish(task_id, "e", claim.fence, artifact, stages or {}, "")

    return build


def milliseconds(tasks):
    return sum(round((task.ended_at - task.submitted_at) * 1000) for task in tasks)


def test_an_ended_task_is_one_observation_of_its_clip_and_each_stage(store, end):
    task = end({"text": 0.5, "denoise": 0.500001, "decode": 1000.0}, clip={"duration": 3})
    rows = {(row.metric, row.labels): row for row in store.metric_rows()}
    clip = ("1080P", "3", "t2v", "succeeded")
    assert set(rows) == {("hhray_clip_seconds", clip)} | {
        ("hhray_stage_seconds", (stage, *clip)) for stage in ("queue_wait", "text", "denoise", "decode")
    }
    assert rows["hhray_clip_seconds", clip].sum_seconds == pytest.approx(task.ended_at - task.submitted_at, abs=1e-6)
    # a bucket's bound belongs to it
    assert rows["hhray_stage_seconds", ("text", *clip)].counts == (1, *[0] * len(BUCKETS_SECONDS))
    assert rows["hhray_stage_seconds", ("denoise", *clip)].counts == (0, 1, *[0] * (len(BUCKETS_SECONDS) - 1))
    assert rows["hhray_stage_seconds", ("decode", *clip)].counts == (*[0] * len(BUCKETS_SECONDS), 1)
    assert rows["hhray_stage_seconds", ("denoise", *clip)].sum_seconds == 0.500001


def test_folding_moves_events_and_changes_no_figure(store, end, create):
    for number in range(5):
        end({"text": number / 7}, clip={"duration": 3 + number % 2})
    store.cancel_pending(create().task_id, None)
    before = store.metric_rows()
    assert store.fold() == 6
    assert store.metric_rows() == before
    assert store.fold() == 0
    assert store.metric_rows() == before
    end({"text": 3.0}, clip={"duration": 3})
    assert sum(row.count for row in store.metric_rows()) == sum(row.count for row in before) + 3
    assert store.fold() == 1


def test_tasks_removed_later_stay_counted(store, end, events):
    end(ttl_seconds=0)
    store.expire()
    assert events() == {"succeeded": 1}
    store.fold()
    assert events() == {"succeeded": 1}


@pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
def test_two_processes_that_fold_at_once_lose_and_double_nothing(store, end, overrides, tmp_path):
    stop = tmp_path / "stop"
    folders = [
        subprocess.Popen(
            [sys.executable, "-c", FOLDER, json.dumps(overrides), str(stop)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for folder in folders:
            assert folder.stdout.readline() == "ready\n"
        tasks = []
        for number in range(1, 121):
            tasks.append(end({"text": 0.001 * number}))
            (clip,) = [row for row in store.metric_rows() if row.metric == "hhray_clip_seconds"]
            assert clip.count == number
            assert clip.sum_seconds == milliseconds(tasks) / 1000
    finally:
        stop.touch()
        folded = [int(folder.communicate(timeout=20)[0]) for folder in folders]
    assert sum(folded) == 120
    texts = [row for row in store.metric_rows() if row.labels[0] == "text"]
    assert [(row.count, row.sum_seconds) for row in texts] == [(120, 7.26)]
    assert all(task.state is TaskState.SUCCEEDED for task in tasks)
