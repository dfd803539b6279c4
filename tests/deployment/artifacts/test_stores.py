"""What every store of files promises: a directory and an S3-compatible server."""

from __future__ import annotations

import hashlib
import time
import uuid

import pytest

from deployment.artifacts import clip_key, input_key, preview_key, upload_key
from hhray.errors import ArtifactsUnavailable, NotFound

TASK, OTHER = str(uuid.UUID(int=7)), str(uuid.UUID(int=8))


def keys(artifacts):
    return sorted(file.key for folder in artifacts.folders() for file in artifacts.files(folder))


def content(artifacts, key):
    with artifacts.open_local(key) as path:
        return path.read_bytes()


def test_the_record_is_of_the_bytes_in_the_store(artifacts, tmp_path):
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"clip" * 600_000)
    key = clip_key(TASK, 1, "acme")
    record = artifacts.put_file(key, source)
    assert (record.key, record.num_bytes) == (key, 2_400_000)
    assert record.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert content(artifacts, key) == source.read_bytes()
    assert artifacts.facts(key).num_bytes == 2_400_000
    assert abs(artifacts.facts(key).written_at - time.time()) < 60
    assert b"".join(artifacts.read(key, 1_048_575, 1_048_581)) == (b"clip" * 3)[3:9]
    empty = artifacts.put_bytes(input_key(TASK), b"")
    assert (empty.num_bytes, content(artifacts, empty.key)) == (0, b"")


def test_a_clip_and_an_upload_are_written_once_and_an_input_may_come_again(artifacts):
    for once in (clip_key(TASK, 1, "acme"), upload_key(TASK, "acme")):
        first = artifacts.put_bytes(once, b"first")
        assert artifacts.put_bytes(once, b"first") == first, "a try whose answer was lost"
        with pytest.raises(ArtifactsUnavailable, match="holds other bytes already and is not overwritten"):
            artifacts.put_bytes(once, b"other")
        assert content(artifacts, once) == b"first"
    for anew in (input_key(TASK, 0, "acme"), preview_key(TASK, "thumbnail.webp", "acme")):
        artifacts.put_bytes(anew, b"first")
        assert artifacts.put_bytes(anew, b"other").sha256 == hashlib.sha256(b"other").hexdigest()
        assert content(artifacts, anew) == b"other"


def test_a_file_that_cannot_be_read_and_a_stream_that_breaks_leave_nothing(artifacts, tmp_path):
    with pytest.raises(FileNotFoundError):
        artifacts.put_file(clip_key(TASK, 1), tmp_path / "missing.mp4")
    artifacts.put_bytes(input_key(TASK), b"old")

    def broken(file):
        file.write(b"new")
        raise RuntimeError("the network is gone")

    with pytest.raises(RuntimeError, match="the network is gone"):
        artifacts.put_stream(input_key(TASK), broken)
    assert keys(artifacts) == [input_key(TASK)]
    assert content(artifacts, input_key(TASK)) == b"old"


def test_a_tasks_files_go_together_those_of_older_keys_too_and_others_stay(artifacts):
    for kind in (clip_key(TASK, 1), clip_key(TASK, 1, "acme"), preview_key(TASK, "thumbnail.webp", "acme")):
        artifacts.put_bytes(kind, b"of the task")
    others = [clip_key(OTHER, 1), input_key(OTHER, 0, "acme")]
    for other in others:
        artifacts.put_bytes(other, b"of another")
    artifacts.put_bytes(clip_key(TASK, 1, "Another Tenant"), b"clip")
    artifacts.delete_task(TASK, "acme")
    assert keys(artifacts) == sorted([*others, clip_key(TASK, 1, "Another Tenant")])
    artifacts.delete_task(TASK)
    artifacts.delete_task(TASK)
    assert keys(artifacts) == sorted(others)
    with pytest.raises(ValueError, match="not a task id"):
        artifacts.delete_task("..")


def test_other_attempts_go_and_the_kept_one_stays(artifacts):
    for attempt in (1, 2, 3):
        artifacts.put_bytes(clip_key(TASK, attempt, "acme"), b"clip")
    artifacts.put_bytes(clip_key(OTHER, 1, "acme"), b"clip")
    artifacts.delete_other_attempts(TASK, clip_key(TASK, 2, "acme"))
    assert keys(artifacts) == sorted([clip_key(TASK, 2, "acme"), clip_key(OTHER, 1, "acme")])
    artifacts.delete(clip_key(TASK, 2, "acme"))
    artifacts.delete(clip_key(TASK, 2, "acme"))
    assert artifacts.facts(clip_key(TASK, 2, "acme")) is None
    with pytest.raises(NotFound), artifacts.open_local(clip_key(TASK, 2, "acme")):
        pass


def test_a_folders_mark_changes_when_a_file_comes_or_goes(artifacts):
    folder = f"clips/t-acme/{TASK}"
    artifacts.put_bytes(clip_key(TASK, 1, "acme"), b"clip")
    first = artifacts.folders()
    assert set(first) == {folder}
    assert artifacts.folders() == first
    artifacts.put_bytes(clip_key(TASK, 2, "acme"), b"clip")
    second = artifacts.folders()
    assert second[folder] != first[folder]
    (old, _) = sorted(artifacts.files(folder), key=lambda file: file.name)
    artifacts.delete_file(old)
    artifacts.delete_file(old)
    assert artifacts.folders()[folder] != second[folder]
    assert keys(artifacts) == [clip_key(TASK, 2, "acme")]
    with pytest.raises(ValueError, match="not a folder"):
        artifacts.files("clips/../..")


def test_an_upload_becomes_an_input_that_outlives_it(artifacts):
    upload, key = upload_key(OTHER, "acme"), input_key(TASK, 0, "acme")
    assert not artifacts.link(key, upload)
    artifacts.put_bytes(upload, b"picture")
    assert artifacts.link(key, upload)
    artifacts.delete_task(OTHER, "acme")
    assert artifacts.facts(upload) is None
    assert content(artifacts, key) == b"picture"
    artifacts.put_bytes(key, b"cleaned")
    assert content(artifacts, key) == b"cleaned"


def test_uploads_go_at_their_age_and_are_no_tasks_files(artifacts):
    artifacts.put_bytes(upload_key(TASK, "acme"), b"upload")
    assert artifacts.folders() == {}
    assert artifacts.delete_uploads(time.time() - 60) == 0
    assert artifacts.delete_uploads(time.time() + 60) == 1
    assert artifacts.facts(upload_key(TASK, "acme")) is None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        f"clips/{TASK}/../../x",
        f"clips/{TASK}/..",
        f"clips/{TASK}/.hidden",
        f"clips/{TASK}/a/b",
        f"clips/{TASK}/1.mp4\n",
        f"clips/t-../{TASK}/1.mp4",
        f"clips/acme/{TASK}/1.mp4",
        f"secrets/{TASK}/1",
        "clips/short/1.mp4",
        f"../{TASK}/1",
    ],
)
def test_a_key_that_is_not_ours_is_refused(artifacts, key):
    calls = (
        lambda: artifacts.put_bytes(key, b"x"),
        lambda: artifacts.facts(key),
        lambda: artifacts.delete(key),
        lambda: list(artifacts.read(key, 0, 1)),
        lambda: artifacts.open_local(key).__enter__(),
    )
    for call in calls:
        with pytest.raises(ValueError, match="not an artifact key"):
            call()
