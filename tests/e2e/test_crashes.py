"""Stops and restarts of the whole server on one data directory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from deployment.local_server import TAG_VARIABLE
from hhray.client_view import TaskView
from hhray.tasks import Stage, Task, TaskState
from server_process import ServerProcess, is_halfway, wait_for

SHAPE = {"resolution": "256P", "ratio": "1:1", "duration": 4}


def test_a_killed_server_loses_nothing_and_the_next_start_ends_its_leftovers(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    server.start()
    # Two processes that a killed server might have left: one of ours, by its tag, and somebody else's.
    sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
    ours = subprocess.Popen(sleep, env={TAG_VARIABLE: server.tag})
    foreign = subprocess.Popen(sleep, env={TAG_VARIABLE: "another-directory"})
    with server.client() as client:
        task_id = client.submit("happyhorse-1.0-t2v", "a horse", seed=1, **SHAPE)
        wait_for(lambda: is_halfway(client.get(task_id)), 60, "half done")
        result: list[TaskView] = []
        poller = threading.Thread(target=lambda: result.append(client.wait(task_id, timeout_seconds=150)))
        poller.start()
        server.kill_everything(keep=ours.pid)
        assert ours.poll() is None
        server.start()
        assert ours.wait(5) != 0, "our own leftover is ended by the start"
        assert foreign.poll() is None, "somebody else's is not"
        foreign.kill()
        foreign.wait()
        restarted = time.monotonic()
        poller.join(150)
        took = time.monotonic() - restarted
    assert result, "the client that polled through the restart got its clip"
    assert result[0].attempt == 2
    clip_seconds = sum(seconds for stage, seconds in result[0].stages.items() if stage != Stage.QUEUE_WAIT)
    assert took < server.settings.store.lease_seconds + 2 * clip_seconds
    store = server.store()
    task = store.get(task_id)
    store.close()
    assert task is not None
    assert task.state is TaskState.SUCCEEDED
    assert [p.name for p in (server.settings.artifact_dir / "clips" / "t-local" / task_id).iterdir()] == ["2.mp4"]

    # A second server on the same directory is refused while the first lives.
    command = [sys.executable, "-m", "hhray", "serve", "--config", str(server.config)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 2
    assert "already runs on" in second.stderr

    stopped = stop_midway(server)
    assert (stopped.state, stopped.faults) == (TaskState.SUCCEEDED, 0), "within drain_seconds clips may finish"


def test_a_stop_without_patience_puts_running_clips_back(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    values = json.loads(server.config.read_text(encoding="utf-8"))
    server.config.write_text(json.dumps(values | {"drain_seconds": 0.0}), encoding="utf-8")
    server.start(as_json=False)
    stopped = stop_midway(server)
    assert (stopped.state, stopped.faults) == (TaskState.PENDING, 0)


def stop_midway(server: ServerProcess) -> Task:
    """SIGTERM in the middle of a clip; the task as the stop left it."""
    with server.client() as client:
        task_id = client.submit("happyhorse-1.0-t2v", "a horse", seed=1, **SHAPE)
        wait_for(lambda: is_halfway(client.get(task_id)), 60, "half done")
    assert server.stop() == 0, server.log_tail()
    assert server.processes() == []
    store = server.store()
    task = store.get(task_id)
    store.close()
    assert task is not None
    return task


def test_a_server_without_keys_refuses_to_leave_loopback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hhray", "serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "keys create" in result.stderr
    assert not (tmp_path / "server.lock").exists(), "refused before anything was started"
