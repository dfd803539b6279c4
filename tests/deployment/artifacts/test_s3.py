"""What only an S3-compatible store does, and what it does wrong."""

from __future__ import annotations

import base64
import hashlib
import logging
import time
import uuid

import pytest

from deployment.artifacts import clip_key, input_key, open_artifacts, upload_key
from deployment.artifacts.s3_listing import S3Listing
from hhray.errors import ArtifactsUnavailable, ConfigError, DiskFull
from hhray.settings import Settings
from s3_server import KEY_ID, SECRET_KEY

TASK = str(uuid.UUID(int=7))
CLIP = clip_key(TASK, 1, "acme")


@pytest.fixture
def gate(s3_server):
    s3_server.gate.reset()
    return s3_server.gate


@pytest.fixture
def open_s3(s3_server, tmp_path, gate):
    """A store behind the gate, with these settings."""

    def make(**store):
        return open_artifacts(s3_server.settings(tmp_path, gated=True, **store), b"secret of the tests")

    return make


def test_a_file_is_put_with_its_checksum_type_and_name_unless_one_is_there_and_read_back(open_s3, gate, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token of the environment")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    open_s3(s3={"encryption": "AES256"}).put_bytes(CLIP, b"clip")
    (put, path, sent), (get, same, _) = gate.seen
    assert (put, get, path) == ("PUT", "GET", same)
    assert path.endswith(f"/clips/t-acme/{TASK}/1.mp4")
    assert sent["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(b"clip").digest()).decode()
    assert sent["x-amz-meta-sha256"] == hashlib.sha256(b"clip").hexdigest()
    assert sent["content-type"] == "video/mp4"
    assert sent["content-disposition"] == f'attachment; filename="clips-{TASK}.mp4"'
    assert sent["if-none-match"] == "*"
    assert sent["x-amz-server-side-encryption"] == "AES256"
    assert f"Credential={KEY_ID}/" in sent["authorization"]
    assert "x-amz-security-token" not in sent


def test_a_store_that_checks_by_itself_is_asked_for_the_length_only(open_s3, gate):
    artifacts = open_s3(s3={"verify": "checksum", "conditional": False})
    artifacts.put_bytes(CLIP, b"clip")
    assert [method for method, _, _ in gate.seen] == ["PUT", "HEAD"]
    assert "if-none-match" not in gate.seen[0][2]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (503, "the store answers 503 SlowDown"),
        (403, r"the store refuses \(403 InvalidAccessKeyId\); expected keys"),
        (500, "the store answers 500 InternalError"),
        (404, "there is no such bucket"),
        ("slow", "the store answers too slowly"),
    ],
)
def test_every_failure_is_a_sentence_without_keys(open_s3, gate, caplog, fault, said):
    artifacts = open_s3(s3={"timeout_seconds": 0.3})
    gate.fault, gate.slow_seconds = fault, 0.5
    calls = [lambda: artifacts.put_bytes(CLIP, b"clip"), lambda: list(artifacts.read(CLIP, 0, 4))]
    for call in calls:
        with pytest.raises(ArtifactsUnavailable, match=said) as caught:
            call()
        logging.getLogger("ray.serve").error("failed", exc_info=caught.value)
        for secret in (KEY_ID, SECRET_KEY):
            assert secret not in str(caught.value) + caplog.text


def test_nobody_at_the_address(s3_server, tmp_path):
    settings = s3_server.settings(tmp_path, s3={"endpoint": "http://127.0.0.1:1"})
    with pytest.raises(ArtifactsUnavailable, match=r"the store does not answer; expected it at store\.s3\.endpoint"):
        open_artifacts(settings, b"secret").files(f"clips/{TASK}")


def test_room_is_that_of_scratch(open_s3):
    open_s3().check_room()
    full = open_s3(min_free_bytes=1 << 60)
    full.put_bytes(CLIP, b"clip")
    with pytest.raises(DiskFull, match="scratch"):
        full.check_room()
    with pytest.raises(DiskFull), full.open_local(CLIP):
        pass


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ({"artifact_url": "s3://clips", "s3": {"access_key_id": "AKIAX"}}, "secret_access_key"),
        ({"artifact_url": "file:///etc"}, "expected s3://bucket"),
        ({"artifact_url": "s3://clips/../x"}, "expected s3://bucket"),
        ({"s3": {"endpoint": "http://user:word@host"}}, "without a path, a user or a password"),
    ],
)
def test_settings_that_fit_no_store_are_refused(store, said):
    with pytest.raises((ConfigError, ValueError), match=said):
        open_artifacts(Settings(store=store), b"secret")


def test_keys_survive_the_way_to_another_process_and_do_not_show(s3_server, tmp_path):
    settings = s3_server.settings(tmp_path)
    assert Settings(**settings.to_args()) == settings
    assert Settings(**settings.to_args()).store.s3.secret_access_key.get_secret_value() == SECRET_KEY
    shown = repr(settings) + settings.model_dump_json() + repr(open_artifacts(settings, b"s")._client)
    assert SECRET_KEY not in shown
    assert KEY_ID not in shown


def test_many_files_are_looked_at_a_part_at_a_time_and_a_folder_is_never_split(open_s3):
    artifacts = open_s3(s3={"verify": "checksum"})
    ids = [str(uuid.UUID(int=number)) for number in range(3)]
    for task in ids:
        for attempt in (1, 2):
            artifacts.put_bytes(clip_key(task, attempt, "acme"), b"")
    artifacts.put_bytes(input_key(ids[0], 0, "acme"), b"")
    artifacts.put_bytes(upload_key(ids[0], "acme"), b"")
    whole = S3Listing(artifacts._client).folders()
    assert len(whole) == 4
    listing = S3Listing(artifacts._client, most_files=2)
    parts = [listing.folders() for _ in range(3)]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert parts[0] | parts[1] | parts[2] == whole
    assert listing.folders() == parts[0]
    assert [file.key for file in listing.uploads_before(time.time() + 60)] == [upload_key(ids[0], "acme")]
