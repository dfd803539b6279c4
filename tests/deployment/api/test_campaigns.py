"""`hhray batch` against the application on loopback, with an engine that is played: throttled, failing, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from deployment.artifacts import clip_key
from deployment.store.base import TaskFilter
from hhray.campaign_state import STATE_FILE
from hhray.cli import main

SCRIPT = {"prompt": "a {style} horse", "style": ["calm", "wild"], "ratio": ["16:9", "9:16", "1:1"], "duration": 3}


@contextmanager
def playing_engine(live, seconds=0.0, fails=()):
    """A thread that makes whatever waits; the prompts in `fails` fail once each."""
    stop, left = threading.Event(), list(fails)

    def work():
        while not stop.wait(0.01):
            for claim in live.store.claim_oldest("engine", 60.0, 1):
                task = claim.task
                stop.wait(seconds)
                if task.request.prompt in left:
                    left.remove(task.request.prompt)
                    live.store.fail(task.task_id, "engine", claim.fence, "InternalError", "a gang died", {})
                else:
                    file = live.services.artifacts.put_bytes(clip_key(task.task_id, claim.fence), task.task_id.encode())
                    live.store.publish(task.task_id, "engine", claim.fence, file, {"denoise": 0.1}, "")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def batch(live, tmp_path, capsys):
    """Runs `hhray batch` on scripts; (exit code, report)."""

    def run(*scripts, at_once=3):
        (tmp_path / "c.jsonl").write_text("\n".join(json.dumps(one) for one in scripts), encoding="utf-8")
        code = main([*arguments(live, tmp_path), "--at-once", str(at_once), "--json"])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def arguments(live, folder):
    return ["batch", str(folder / "c.jsonl"), "--out", str(folder / "out"), "--url", live.url]


def tasks_of(live):
    rows, total = live.store.list_tasks(TaskFilter(tenant=tenant_of(live), page_size=100))
    assert total == len(rows)
    return rows


def tenant_of(live):
    return live.services.keys.authenticate("Bearer any").tenant


def test_a_campaign_makes_each_clip_once_and_a_second_run_makes_none(live, batch, tmp_path):
    with playing_engine(live):
        code, facts = batch(SCRIPT)
        assert (code, facts["done"], facts["failed"]) == (0, 6, 0)
        again, same = batch(SCRIPT)
    assert (again, same) == (0, facts)
    tasks = tasks_of(live)
    assert len(tasks) == 6
    files = {row["file"]: (tmp_path / "out" / row["file"]).read_text() for row in facts["variants"]}
    assert set(files.values()) == {task.task_id for task in tasks}
    assert all(row["seconds"] > 0 and row["task_id"] == files[row["file"]] for row in facts["variants"])
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == facts
    assert "6 of 6 clips, 0 failed" in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "report.html").read_text().count("<video") == 6


def test_a_clip_that_failed_is_reported_and_made_anew_by_the_next_run(live, batch):
    with playing_engine(live, fails=["a wild horse"]):
        code, facts = batch({**SCRIPT, "ratio": "1:1"})
        assert (code, facts["done"], facts["failed"]) == (1, 1, 1)
        [failed] = [row for row in facts["variants"] if row["status"] == "failed"]
        assert "a gang died" in failed["error"]
        assert batch({**SCRIPT, "ratio": "1:1"})[1]["done"] == 2
    assert len(tasks_of(live)) == 3


def test_a_task_whose_id_was_not_kept_is_found_again_by_its_key(live, batch, tmp_path):
    with playing_engine(live):
        batch(SCRIPT)
        path = tmp_path / "out" / STATE_FILE
        state = json.loads(path.read_text())
        for one in state["variants"].values():  # as if killed between the create and the write
            one |= {"status": "waiting", "task_id": "", "file": ""}
        path.write_text(json.dumps(state))
        assert batch(SCRIPT)[0] == 0
    assert len(tasks_of(live)) == 6


def test_a_refused_variant_does_not_stop_the_others(live, batch):
    with playing_engine(live):
        code, facts = batch({"prompt": "x", "model": ["happyhorse-1.0-t2v", "no-such-model"]})
    assert (code, facts["done"], facts["failed"]) == (1, 1, 1)
    assert "Model not exist" in facts["variants"][1]["error"]


def test_creates_wait_while_the_server_says_it_is_too_much(serve_with, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("deployment.backlog.RETRY_SECONDS", 0.2)
    with serve_with(store={"max_queued": 1}) as live, playing_engine(live, seconds=0.05):
        (tmp_path / "c.jsonl").write_text(json.dumps(SCRIPT))
        assert main([*arguments(live, tmp_path), "--at-once", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["done"] == 6


def test_a_campaign_that_was_killed_goes_on_and_no_clip_is_made_twice(live, batch, tmp_path):
    (tmp_path / "c.jsonl").write_text(json.dumps(SCRIPT))
    command = [sys.executable, "-m", "hhray", *arguments(live, tmp_path), "--at-once", "2"]
    with playing_engine(live, seconds=0.1):
        process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not list((tmp_path / "out").glob("*.mp4")) and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        state = json.loads((tmp_path / "out" / STATE_FILE).read_text())
        done = [one for one in state["variants"].values() if one["status"] == "done"]
        assert len(done) < 6
        code, facts = batch(SCRIPT)
    assert (code, facts["done"]) == (0, 6)
    assert len(tasks_of(live)) == 6
