"""The janitor over an S3-compatible store: the rules of a directory, by the store's own times."""

from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import pytest

from deployment.artifacts import clip_key, input_key, open_artifacts, preview_key, upload_key
from deployment.janitor import Janitor
from hhray.store_settings import StoreSettings
from hhray.tasks import NewTask

GRACE = 1800.0


@pytest.fixture
def artifacts(s3_server, tmp_path):
    s3_server.gate.reset()
    return open_artifacts(s3_server.settings(tmp_path, gated=True, s3={"verify": "checksum"}), b"secret")


@pytest.fixture
def janitor(task_store, artifacts):
    return Janitor(task_store, artifacts, StoreSettings(orphan_grace_seconds=GRACE), 2 * GRACE)


def later(monkeypatch, seconds):
    """The janitor's clock goes ahead; files that were just put are so much older."""
    clock = SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic)
    monkeypatch.setattr("deployment.janitor.time", clock)


def keys(artifacts):
    return sorted(file.key for folder in artifacts.folders() for file in artifacts.files(folder))


def test_what_nobody_names_goes_after_the_grace_and_results_inputs_and_running_attempts_stay(
    task_store, add_task, artifacts, janitor, monkeypatch
):
    done, running, nobody = add_task().task_id, add_task().task_id, str(uuid.uuid4())
    (claim,) = task_store.claim([done], "engine", 30.0)
    result = artifacts.put_bytes(clip_key(done, claim.fence, "tenant"), b"clip")
    assert task_store.publish(done, "engine", claim.fence, result, {}, "")
    task_store.claim([running], "engine", 30.0)
    named = [
        result.key,
        artifacts.put_bytes(input_key(done, 0, "tenant"), b"input").key,
        artifacts.put_bytes(preview_key(done, "thumbnail.webp", "tenant"), b"preview").key,
        artifacts.put_bytes(clip_key(running, 1, "tenant"), b"clip").key,
    ]
    for orphan in (clip_key(done, 2, "tenant"), preview_key(running, "thumbnail.webp", "tenant"), input_key(nobody)):
        artifacts.put_bytes(orphan, b"orphan")
    upload = artifacts.put_bytes(upload_key(nobody, "tenant"), b"upload").key
    assert janitor.collect() == 0, "all are young"
    later(monkeypatch, 2 * GRACE)
    assert janitor.collect() == 3
    assert keys(artifacts) == sorted(named)
    assert artifacts.facts(upload) is not None
    later(monkeypatch, 4 * GRACE)
    assert janitor.collect() == 1
    assert artifacts.facts(upload) is None


def test_files_of_expired_tasks_go_at_once_and_those_a_store_that_is_away_kept_go_later(
    task_store, add_task, artifacts, janitor, s3_server, monkeypatch
):
    def expired():
        """A task whose time is over, with its clip."""
        new = NewTask("tenant", add_task().request, "request", 1.0, True, str(uuid.uuid4()), ttl_seconds=0.0)
        task_id = task_store.create(new).task_id
        (claim,) = task_store.claim([task_id], "engine", 30.0)
        clip = artifacts.put_bytes(clip_key(task_id, claim.fence, "tenant"), b"clip")
        assert task_store.publish(task_id, "engine", claim.fence, clip, {}, "")
        return task_id

    first = expired()
    assert janitor.expire() == [first]
    assert keys(artifacts) == []
    second = expired()
    assert janitor.collect() == 0, "its folder is known to be in order"
    s3_server.gate.fault = 503
    assert janitor.expire() == [second], "the row goes, whatever the store of files does"
    assert janitor.collect() == 0
    s3_server.gate.reset()
    assert keys(artifacts) == [clip_key(second, 1, "tenant")]
    later(monkeypatch, 2 * GRACE)
    assert janitor.collect() == 1
    assert keys(artifacts) == []
