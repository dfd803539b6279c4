"""What a client sees of moderation and of marks: refusals at create, FAILED media, and the marks of a task."""

from __future__ import annotations

import logging

import pytest

from deployment.moderation import Verdict
from deployment.store.base import TaskFilter
from hhray.marking import Marking

T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "a secret grape"}}
I2V = {"model": "happyhorse-1.0-i2v", "input": {"prompt": "it runs"}, "parameters": {"duration": 3}}


class MediaCheck:
    """Refuses every file but texts; fails instead where it is told so."""

    def __init__(self, fails=""):
        self.fails = fails

    def check_text(self, text):
        return Verdict.PASSED

    def check_file(self, path, kind):
        assert path.is_file()
        if self.fails:
            raise RuntimeError("away")
        return Verdict.REFUSED

    check_frames = check_text


@pytest.fixture
def words(tmp_path):
    (tmp_path / "words.txt").write_text("grape\n")
    return {"check": "deployment.word_list:WordList", "options": {"file": str(tmp_path / "words.txt")}}


def test_a_prompt_with_a_word_of_the_list_is_refused_and_nothing_of_it_is_logged(serve_with, words, caplog):
    caplog.set_level(logging.DEBUG)
    with serve_with(moderation=words) as live:
        answer = live.create(T2V)
        assert (answer.status_code, answer.json()["code"]) == (400, "DataInspectionFailed")
        assert answer.json()["message"] == "Input data may contain inappropriate content."
        assert live.store.list_tasks(TaskFilter("local"))[1] == 0
        spoken = T2V | {"input": {"prompt": "a horse", "dialogue": "Grape!"}}
        assert live.create(spoken).json()["code"] == "DataInspectionFailed"
        live.create_id(T2V | {"input": {"prompt": "grapes"}})
    assert "secret" not in caplog.text


def test_a_check_that_does_not_answer_is_503_with_retry_after_and_leaves_nothing(serve_with):
    late = {"check": f"{__name__}:SlowCheck", "timeout_seconds": 0.05}
    with serve_with(moderation=late) as live:
        answer = live.create(T2V)
        assert (answer.status_code, answer.json()["code"]) == (503, "ModelUnavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert live.store.list_tasks(TaskFilter("local"))[1] == 0
    with serve_with(moderation=late | {"on_error": "allow"}) as live:
        live.create_id(T2V)


class SlowCheck(MediaCheck):
    """Takes longer than it may."""

    def check_text(self, text):
        import time

        time.sleep(0.4)
        return Verdict.PASSED


def with_picture(hosted, picture):
    files, host = hosted
    files["/a.png"] = picture()
    media = [{"type": "first_frame", "url": f"http://{host}/a.png"}]
    return I2V | {"input": I2V["input"] | {"media": media}}, {"allowed_private": [host]}


def test_a_picture_that_is_refused_ends_the_task_failed_before_anybody_can_claim_it(serve_with, hosted, picture):
    body, media = with_picture(hosted, picture)
    with serve_with(moderation={"check": f"{__name__}:MediaCheck"}, media=media) as live:
        task_id = live.create_id(body)
        live.intake.run_once()
        output = live.get(task_id)["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "DataInspectionFailed")
        assert output["message"] == "Input data may contain inappropriate content."
        assert live.kicked == []


def test_media_that_could_not_be_checked_wait_and_are_not_let_through(serve_with, hosted, picture):
    body, media = with_picture(hosted, picture)
    check = {"check": f"{__name__}:MediaCheck", "options": {"fails": "yes"}}
    with serve_with(moderation=check, media=media) as live:
        task_id = live.create_id(body)
        with pytest.raises(Exception, match="failed with RuntimeError"):
            live.intake.run_once()
        assert live.get(task_id)["output"]["task_status"] == "PENDING"
        assert live.store.queued() == []


def test_a_task_carries_the_marks_that_request_tenant_and_server_decide(serve_with):
    with serve_with(marking={"watermark_text": "Acme"}, tenants={"local": {"marking": {"producer": "acme-7"}}}) as live:
        asked, declined = live.create_id(T2V), live.create_id(T2V | {"parameters": {"watermark": False}})
        assert live.store.get(asked).request.marking == Marking(watermark="Acme", producer="acme-7")
        assert live.store.get(declined).request.marking == Marking(producer="acme-7")
        (claim,) = live.store.claim([asked], "engine", 60.0)
        artifact = live.services.artifacts.put_bytes(f"clips/{asked}/1.mp4", b"clip")
        live.store.publish(asked, "engine", claim.fence, artifact, {}, "", {"marking": "watermark,aigc"})
        assert live.get(asked)["output"]["marking"] == "watermark,aigc"
        assert "marking" not in live.get(declined)["output"]
