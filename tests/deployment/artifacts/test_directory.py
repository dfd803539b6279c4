"""What only a directory has: half files, hard links, and paths signed by this server."""

from __future__ import annotations

import errno
import uuid

import pytest

from deployment.artifacts import DirectoryArtifacts, clip_key
from hhray.errors import ArtifactsUnavailable

TASK = str(uuid.UUID(int=7))


@pytest.fixture
def artifacts(tmp_path):
    return DirectoryArtifacts(tmp_path / "artifacts", b"a secret of the tests")


def test_half_a_file_has_another_name_and_is_listed(artifacts):
    key = clip_key(TASK, 1, "acme")
    seen = []

    def fill(file):
        file.write(b"half")
        seen.extend(one.name for one in artifacts.files(f"clips/t-acme/{TASK}"))

    artifacts.put_stream(key, fill)
    assert len(seen) == 1
    assert seen[0].startswith(".1.mp4.")
    assert [path.name for path in artifacts.local_path(key).parent.iterdir()] == ["1.mp4"]


def test_a_disk_without_hard_links_still_takes_files(artifacts, monkeypatch):
    def refuse(*paths):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    artifacts.put_bytes(clip_key(TASK, 1), b"clip")
    assert artifacts.local_path(clip_key(TASK, 1)).read_bytes() == b"clip"


def test_a_directory_that_is_away_is_not_a_file_that_is_gone(tmp_path):
    with pytest.raises(ArtifactsUnavailable, match="is away"):
        DirectoryArtifacts(tmp_path / "unmounted", b"secret").open_local(clip_key(TASK, 1)).__enter__()


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
