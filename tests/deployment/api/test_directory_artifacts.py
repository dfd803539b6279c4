"""Files of tasks in a directory."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from deployment.artifacts import DirectoryArtifacts, clip_key, input_key

TASK = str(uuid.UUID(int=7))


@pytest.fixture
def artifacts(tmp_path):
    return DirectoryArtifacts(tmp_path / "artifacts", b"a secret of the tests")


def test_the_record_is_of_the_bytes_in_the_store(artifacts, tmp_path):
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"clip" * 100_000)
    record = artifacts.put_file(clip_key(TASK, 1), source)
    stored = artifacts.local_path(record.key).read_bytes()
    assert stored == source.read_bytes()
    assert (record.sha256, record.num_bytes) == (hashlib.sha256(stored).hexdigest(), len(stored))


def test_a_failed_copy_leaves_nothing(artifacts, tmp_path):
    with pytest.raises(FileNotFoundError):
        artifacts.put_file(clip_key(TASK, 1), tmp_path / "missing.mp4")
    assert not artifacts.local_path(clip_key(TASK, 1)).parent.exists()


def test_a_stream_that_breaks_leaves_no_file_and_keeps_the_old_one(artifacts):
    key = input_key(TASK)
    artifacts.put_bytes(key, b"old")

    def broken(file):
        file.write(b"new")
        raise RuntimeError("the network is gone")

    with pytest.raises(RuntimeError, match="the network is gone"):
        artifacts.put_stream(key, broken)
    assert artifacts.local_path(key).read_bytes() == b"old"
    assert [path.name for path in artifacts.local_path(key).parent.iterdir()] == ["0"]


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
        "clips/short/1.mp4",
        f"../{TASK}/1",
    ],
)
def test_a_key_that_is_not_ours_is_refused(artifacts, key):
    with pytest.raises(ValueError, match="not an artifact key"):
        artifacts.local_path(key)
    with pytest.raises(ValueError, match="not an artifact key"):
        artifacts.put_bytes(key, b"x")


def test_a_tasks_files_go_together_and_others_stay(artifacts):
    other = str(uuid.UUID(int=8))
    for task in (TASK, other):
        artifacts.put_bytes(input_key(task), b"picture")
        artifacts.put_bytes(clip_key(task, 1), b"clip")
    artifacts.delete_task(TASK)
    artifacts.delete_task(TASK)
    assert not artifacts.local_path(input_key(TASK)).exists()
    assert not artifacts.local_path(clip_key(TASK, 1)).parent.exists()
    assert artifacts.local_path(clip_key(other, 1)).read_bytes() == b"clip"
    with pytest.raises(ValueError, match="not a task id"):
        artifacts.delete_task("..")


def test_other_attempts_go_and_the_kept_one_stays(artifacts):
    for attempt in (1, 2, 3):
        artifacts.put_bytes(clip_key(TASK, attempt), b"clip")
    artifacts.delete_other_attempts(TASK, clip_key(TASK, 2))
    assert [path.name for path in artifacts.local_path(clip_key(TASK, 2)).parent.iterdir()] == ["2.mp4"]
    artifacts.delete(clip_key(TASK, 2))
    artifacts.delete(clip_key(TASK, 2))
    assert not artifacts.local_path(clip_key(TASK, 2)).exists()


def test_a_signature_holds_for_its_key_and_time_only(artifacts, tmp_path):
    path = artifacts.signed_path(clip_key(TASK, 1), 60.0, now=1000.0)
    target, _, query = path.partition("?")
    assert target == f"/artifacts/clips/{TASK}/1.mp4"
    fields = dict(part.split("=") for part in query.split("&"))
    expires, signature = fields["Expires"], fields["Signature"]
    assert expires == "1060"
    assert artifacts.verify(clip_key(TASK, 1), expires, signature, now=1059.9)
    assert not artifacts.verify(clip_key(TASK, 1), expires, signature, now=1060.0)
    assert not artifacts.verify(clip_key(TASK, 2), expires, signature, now=1000.0)
    assert not artifacts.verify(clip_key(TASK, 1), "1061", signature, now=1000.0)
    assert not artifacts.verify(clip_key(TASK, 1), expires, "", now=1000.0)
    stranger = DirectoryArtifacts(tmp_path, b"another secret")
    assert not stranger.verify(clip_key(TASK, 1), expires, signature, now=1000.0)
