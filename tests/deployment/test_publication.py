"""Publication against stores that fail: a real database file, a real directory and an S3-compatible server, taken away
for a while."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployment.artifacts import ArtifactStore, DirectoryArtifacts, open_artifacts
from deployment.publication import Publication
from deployment.store.base import Claim, TaskStore
from disk_faults import full_disk
from fault_stores import outage
from hhray.engine_settings import EngineSettings
from hhray.errors import ArtifactsUnavailable, DiskFull, EngineFault, StoreUnavailable
from hhray.settings import Settings
from hhray.tasks import Task, TaskState
from s3_server import S3Server

MIB = 1 << 20


@pytest.fixture
def claim(task_store: TaskStore, add_task: Callable[..., Task]) -> Claim:
    return task_store.claim([add_task().task_id], "engine", 30.0)[0]


def clip(tmp_path: Path, num_bytes: int = 1000) -> Path:
    path = tmp_path / "scratch.mp4"
    path.write_bytes(b"c" * num_bytes)
    return path


def publish(store: Any, artifacts: ArtifactStore, claim: Claim, path: Path, **settings: float) -> bool:
    publication = Publication(store, artifacts, EngineSettings(**settings))
    return asyncio.run(publication.publish(claim, path, "a notice", lambda: {"publish": 0.1}))


def files(artifacts: ArtifactStore) -> list[str]:
    return [file.name for folder in artifacts.folders() for file in artifacts.files(folder)]


def test_the_bytes_on_record_are_those_in_the_store(
    tmp_path: Path, task_store: TaskStore, artifacts: ArtifactStore, claim: Claim
) -> None:
    path = clip(tmp_path)
    assert publish(task_store, artifacts, claim, path)
    task = task_store.get(claim.task.task_id)
    assert task is not None
    assert (task.state, task.artifact_bytes) == (TaskState.SUCCEEDED, 1000)
    assert task.artifact_sha256 == hashlib.sha256(b"c" * 1000).hexdigest()
    assert not path.exists()


def test_a_file_waits_for_a_store_that_is_away(
    tmp_path: Path, task_store: TaskStore, artifacts: ArtifactStore, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployment.store.sqlite.database.BUSY_SECONDS", 0.05)
    outcome: list[bool] = []
    thread = threading.Thread(
        target=lambda: outcome.append(
            publish(task_store, artifacts, claim, clip(tmp_path), publish_patience_seconds=60)
        )
    )
    with outage(Settings(store={"sqlite_path": str(tmp_path / "tasks.sqlite3")})):
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive()
        assert files(artifacts) == ["1.mp4"], "the finished file is kept"
    thread.join(30)
    assert outcome == [True]


def test_patience_with_the_store_ends_and_the_file_stays_for_it_may_have_been_published(
    tmp_path: Path, task_store: TaskStore, artifacts: ArtifactStore, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployment.store.sqlite.database.BUSY_SECONDS", 0.05)
    with outage(Settings(store={"sqlite_path": str(tmp_path / "tasks.sqlite3")})), pytest.raises(StoreUnavailable):
        publish(task_store, artifacts, claim, clip(tmp_path), publish_patience_seconds=0.2)
    assert files(artifacts) == ["1.mp4"]


def test_a_commit_whose_answer_was_lost_is_recognised_as_ours(
    tmp_path: Path, task_store: TaskStore, artifacts: ArtifactStore, claim: Claim
) -> None:
    class LosesTheAnswer:
        """The connection breaks after COMMIT, before the client hears of it."""

        lost = 0

        def publish(self, *args: Any) -> Task | None:
            task = task_store.publish(*args)
            if not self.lost:
                self.lost += 1
                raise StoreUnavailable("the server closed the connection")
            return task

        get = task_store.get

    store = LosesTheAnswer()
    assert publish(store, artifacts, claim, clip(tmp_path))
    task = task_store.get(claim.task.task_id)
    assert store.lost == 1
    assert task is not None
    with artifacts.open_local(task.artifact_key) as path:
        assert path.read_bytes() == b"c" * 1000


def test_the_loser_of_the_compare_and_set_removes_its_file_and_no_other(
    tmp_path: Path, task_store: TaskStore, artifacts: ArtifactStore, claim: Claim
) -> None:
    task_store.release(claim.task.task_id, "engine", claim.fence)
    (second,) = task_store.claim([claim.task.task_id], "another engine", 30.0)
    assert publish(task_store, artifacts, second, clip(tmp_path))
    assert not publish(task_store, artifacts, claim, clip(tmp_path))
    assert files(artifacts) == ["2.mp4"]


def test_an_artifact_store_that_fails_is_tried_again(
    tmp_path: Path,
    task_store: TaskStore,
    artifacts: ArtifactStore,
    artifact_settings: Settings,
    claim: Claim,
    request: pytest.FixtureRequest,
) -> None:
    if artifact_settings.store.artifact_url:
        gate = request.getfixturevalue("s3_server").gate
        gate.fault = 503
        threading.Timer(0.3, gate.reset).start()
    else:
        blocked = tmp_path / "artifacts"
        blocked.write_text("not a directory")
        threading.Timer(0.3, blocked.unlink).start()
    assert publish(task_store, artifacts, claim, clip(tmp_path), artifact_patience_seconds=60)
    assert files(artifacts) == ["1.mp4"]


def test_a_full_artifact_store_leaves_nothing_half_written_and_the_claim_is_still_held(
    tmp_path: Path, task_store: TaskStore, claim: Claim
) -> None:
    artifacts = DirectoryArtifacts(tmp_path / "artifacts", b"secret" * 4)
    path = clip(tmp_path, 5 * MIB)
    with full_disk(4 * MIB), pytest.raises(DiskFull, match="free some"):
        publish(task_store, artifacts, claim, path, artifact_patience_seconds=0.2)
    assert files(artifacts) == []
    assert not path.exists(), "scratch is not filled with clips nobody can store"
    assert task_store.release(claim.task.task_id, "engine", claim.fence)


def test_a_file_that_reads_back_otherwise_is_no_result(tmp_path: Path, task_store: TaskStore, claim: Claim) -> None:
    class RottenDisk(DirectoryArtifacts):
        def put_file(self, key: str, path: Path) -> Any:
            return self.put_bytes(key, path.read_bytes()[:-1] + b"x")

    rotten = RottenDisk(tmp_path / "artifacts", b"secret" * 4)
    with pytest.raises(ArtifactsUnavailable, match="other bytes"):
        publish(task_store, rotten, claim, clip(tmp_path), artifact_patience_seconds=0.1)
    task = task_store.get(claim.task.task_id)
    assert task is not None
    assert task.state is TaskState.RUNNING


def test_bytes_that_rot_on_the_way_to_an_s3_store_are_no_result(
    tmp_path: Path, task_store: TaskStore, claim: Claim, s3_server: S3Server
) -> None:
    s3_server.gate.reset()
    artifacts = open_artifacts(s3_server.settings(tmp_path, gated=True), b"secret" * 4)
    s3_server.gate.fault, s3_server.gate.methods = "rot", {"GET"}
    with pytest.raises(ArtifactsUnavailable, match="other bytes"):
        publish(task_store, artifacts, claim, clip(tmp_path), artifact_patience_seconds=0.1)
    s3_server.gate.reset()
    assert files(artifacts) == []
    assert publish(task_store, artifacts, claim, clip(tmp_path)), "its place is free for another try"


def test_an_upload_whose_answer_was_lost_finds_its_own_file(
    tmp_path: Path, task_store: TaskStore, claim: Claim, s3_server: S3Server
) -> None:
    s3_server.gate.reset()
    artifacts = open_artifacts(s3_server.settings(tmp_path, gated=True), b"secret" * 4)
    s3_server.gate.fault, s3_server.gate.methods = "drop", {"PUT"}
    assert publish(task_store, artifacts, claim, clip(tmp_path), artifact_patience_seconds=0.1)
    assert files(artifacts) == ["1.mp4"]


def test_a_clip_that_is_gone_is_a_fault_of_the_engine(
    tmp_path: Path, task_store: TaskStore, artifacts: ArtifactStore, claim: Claim
) -> None:
    with pytest.raises(EngineFault, match="cannot be read"):
        publish(task_store, artifacts, claim, tmp_path / "gone.mp4")
