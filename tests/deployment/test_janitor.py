"""Files nobody owns go after a grace; files somebody may still publish stay."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from deployment.artifacts import DirectoryArtifacts, clip_key, input_key, preview_key
from deployment.janitor import Janitor, sweep_scratch
from deployment.store.base import TaskStore
from hhray.store_settings import StoreSettings
from hhray.tasks import Task

GRACE = 1800.0


@pytest.fixture
def artifacts(tmp_path: Path) -> DirectoryArtifacts:
    return DirectoryArtifacts(tmp_path / "artifacts", b"secret" * 4)


@pytest.fixture
def janitor(task_store: TaskStore, artifacts: DirectoryArtifacts) -> Janitor:
    return Janitor(task_store, artifacts, StoreSettings(orphan_grace_seconds=GRACE))


def put(artifacts: DirectoryArtifacts, key: str, age_seconds: float = 2 * GRACE) -> Path:
    path = artifacts.local_path(artifacts.put_bytes(key, b"data").key)
    written = time.time() - age_seconds
    os.utime(path, (written, written))
    return path


def test_clips_of_attempts_that_nobody_published_go_and_the_result_stays(
    task_store: TaskStore, add_task: Callable[..., Task], artifacts: DirectoryArtifacts, janitor: Janitor
) -> None:
    task_id = add_task().task_id
    lost = put(artifacts, clip_key(task_id, 1))
    (claim,) = task_store.claim([task_id], "engine", 30.0)
    task_store.release(task_id, "engine", claim.fence)
    (claim,) = task_store.claim([task_id], "engine", 30.0)
    result = artifacts.put_bytes(clip_key(task_id, claim.fence), b"data")
    task_store.publish(task_id, "engine", claim.fence, result, {}, "")
    half = lost.with_name(".3.mp4.0123456789abcdef")
    half.write_bytes(b"da")
    os.utime(half, (0, 0))
    kept = artifacts.local_path(result.key)
    os.utime(kept, (0, 0))
    assert janitor.collect() == 2
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    late = put(artifacts, clip_key(task_id, 1))
    assert janitor.collect() == 1, "a zombie's file that comes later is found, too"
    assert not late.exists()


def test_a_running_attempts_file_and_young_ones_stay(
    task_store: TaskStore, add_task: Callable[..., Task], artifacts: DirectoryArtifacts, janitor: Janitor
) -> None:
    running, waiting = add_task().task_id, add_task().task_id
    task_store.claim([running], "engine", 30.0)
    own, young = put(artifacts, clip_key(running, 1)), put(artifacts, clip_key(waiting, 1), age_seconds=GRACE / 2)
    half = own.with_name(".1.mp4.0123456789abcdef")
    half.write_bytes(b"da")
    os.utime(half, (0, 0))
    assert janitor.collect() == 0
    assert own.exists()
    assert half.exists()
    assert young.exists()


def test_media_of_a_create_that_was_never_committed_goes_and_that_of_a_task_stays(
    task_store: TaskStore, add_task: Callable[..., Task], artifacts: DirectoryArtifacts, janitor: Janitor
) -> None:
    orphan, owned = put(artifacts, input_key(str(uuid.uuid4()))), put(artifacts, input_key(add_task().task_id))
    assert janitor.collect() == 1
    assert not orphan.parent.exists()
    assert owned.exists()


def test_a_clean_folder_is_looked_at_again_only_when_it_changes(
    task_store: TaskStore,
    add_task: Callable[..., Task],
    artifacts: DirectoryArtifacts,
    janitor: Janitor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task_id = add_task().task_id
    (claim,) = task_store.claim([task_id], "engine", 30.0)
    result = artifacts.put_bytes(clip_key(task_id, claim.fence), b"data")
    task_store.publish(task_id, "engine", claim.fence, result, {}, "")
    looked: list[str] = []
    real = artifacts.files
    monkeypatch.setattr(artifacts, "files", lambda wanted: looked.append(wanted) or real(wanted))
    for _ in range(3):
        janitor.collect()
    assert looked == [f"clips/{task_id}"]


def test_scratch_files_of_dead_engines_go_at_the_next_start(tmp_path: Path) -> None:
    old, young = tmp_path / "task.1.mp4", tmp_path / "task.2.mp4"
    for path in (old, young):
        path.write_bytes(b"clip")
    os.utime(old, (0, 0))
    assert sweep_scratch(tmp_path, GRACE) == 1
    assert [path.name for path in tmp_path.iterdir()] == [young.name]
    assert sweep_scratch(tmp_path / "not there yet", GRACE) == 0


def test_pictures_of_a_result_stay_as_long_as_it_and_go_with_it(
    task_store: TaskStore, add_task: Callable[..., Task], artifacts: DirectoryArtifacts, janitor: Janitor
) -> None:
    task_id = add_task().task_id
    (claim,) = task_store.claim([task_id], "engine", 30.0)
    result = artifacts.put_bytes(clip_key(task_id, claim.fence), b"data")
    task_store.publish(task_id, "engine", claim.fence, result, {}, "")
    picture = put(artifacts, preview_key(task_id, "thumbnail.webp"))
    half = picture.with_name(".spritesheet.jpg.0123456789abcdef")
    half.write_bytes(b"da")
    os.utime(half, (0, 0))
    assert janitor.collect() == 1
    assert (picture.is_file(), half.exists()) == (True, False)
    task_store.delete(task_id, "tenant")
    janitor.collect()
    assert not picture.exists()
