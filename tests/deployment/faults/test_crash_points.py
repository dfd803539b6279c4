"""Every instant between insert and publish at which a process can die: nothing is lost, nothing is published twice.

Each point has a task of its own; its process is killed by SIGKILL exactly there. Then another engine ends them all.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from fault_bench import FaultBench, check_invariants, files_nobody_owns
from fork_server import ForkServer
from hhray.tasks import Task, TaskState

# Where the engine dies -> the task's state right then, as another process sees it.
ENGINE = {
    "before claim": "PENDING",
    "uncommitted claim": "PENDING",
    "after claim": "RUNNING",
    "after begin": "RUNNING",
    "after renew": "RUNNING",
    "between steps": "RUNNING",
    "before decode": "RUNNING",
    "after decode": "RUNNING",
    "file written": "RUNNING",
    "before put_file": "RUNNING",
    "half an upload": "RUNNING",
    "after put_file": "RUNNING",
    "before publish": "RUNNING",
    "uncommitted publish": "RUNNING",
    "after publish": "SUCCEEDED",
    "before delete_other_attempts": "SUCCEEDED",
    "after delete_other_attempts": "SUCCEEDED",
    "before drop": "SUCCEEDED",
    "after drop": "SUCCEEDED",
}
CLIENT = ["before create", "uncommitted create", "after create", "before put_bytes", "after put_bytes"]
INTAKE = ["after claim_media", "before media_ready", "uncommitted media_ready", "after media_ready"]
JANITOR = ["before reap", "uncommitted reap", "after reap", "uncommitted fold", "after fold"]


@dataclass
class Story:
    """What was seen at each point, and at the end."""

    notes: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    at_crash: dict[str, Task] = field(default_factory=dict)
    at_end: dict[str, Task] = field(default_factory=dict)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.proof)])
def bench(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fork_server: ForkServer,
    new_url: Callable[[str], str],
) -> Iterator[FaultBench]:
    home = tmp_path_factory.mktemp(f"crash-points-{request.param}")
    bench = FaultBench(home, fork_server, url=new_url(request.param))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def story(bench: FaultBench) -> Story:
    story, picture = Story(), bench.home / "picture.png"
    data = io.BytesIO()
    Image.new("RGB", (400, 400), (9, 99, 9)).save(data, "PNG")
    picture.write_bytes(data.getvalue())
    story.ids = dict(zip(ENGINE, bench.submit(*ENGINE), strict=True))
    for point, task_id in story.ids.items():
        slow = {"step_seconds": 0.05} if point == "after renew" else {}
        story.notes[point] = bench.crash("engine", point, tasks=[task_id], **slow)
        story.at_crash[point] = bench.task(task_id)
    for point in CLIENT:
        story.notes[point] = _client_dies(bench, point, picture)
    # The client asks again, with the same keys.
    with_media = [*CLIENT, *INTAKE]
    story.ids |= dict(zip(with_media, bench.submit(*with_media, media=str(picture)), strict=True))
    for point in INTAKE:
        story.notes[point] = bench.crash("intake", point)
    for point in JANITOR:
        story.notes[point] = bench.crash("janitor", point)
    for role in ("janitor", "intake", "engine", "engine"):
        bench.start(role)
    bench.wait_all(60)
    for pid in list(bench.server.pids):
        bench.server.kill(pid)
    story.at_end = {point: bench.task(task_id) for point, task_id in story.ids.items()}
    bench.settle()
    return story


def _client_dies(bench: FaultBench, point: str, picture: Path) -> str:
    return bench.crash("client", point, keys=[point], acks=str(bench.acks), media=str(picture))


@pytest.mark.parametrize("point", [*ENGINE, *CLIENT, *INTAKE, *JANITOR])
def test_the_process_dies_at_that_point_and_the_task_ends_with_its_clip(story: Story, point: str) -> None:
    assert story.notes[point] == point, "no process was killed there"
    if point in ENGINE:
        assert story.at_crash[point].state == ENGINE[point]
    if point in story.ids:
        ended = story.at_end[point]
        assert (ended.state, ended.error_message) == (TaskState.SUCCEEDED, "") or ended.faults > 0
        assert ended.state is TaskState.SUCCEEDED


def test_a_result_that_was_committed_before_the_crash_stays_the_result(story: Story) -> None:
    committed = [point for point, state in ENGINE.items() if state == "SUCCEEDED"]
    assert len(committed) == 5
    for point in committed:
        assert story.at_end[point] == story.at_crash[point]
        assert story.at_end[point].attempt == 1


def test_an_attempt_that_died_uncommitted_is_made_again_by_another_engine(story: Story) -> None:
    for point, state in ENGINE.items():
        assert story.at_end[point].attempt == (2 if state == "RUNNING" else 1), point


def test_a_client_that_heard_no_answer_gets_the_same_task_again(story: Story, bench: FaultBench) -> None:
    acked = bench.acked()
    assert {point: acked[point] for point in CLIENT} == {point: story.ids[point] for point in CLIENT}


def test_after_all_crashes_the_invariants_hold(story: Story, bench: FaultBench) -> None:
    check_invariants(bench, list(story.ids.values()))


def test_after_all_crashes_no_file_is_left_that_nobody_owns(story: Story, bench: FaultBench) -> None:
    assert files_nobody_owns(bench) == []
    published = [path for path in (bench.settings.artifact_dir / "clips").rglob("*") if path.is_file()]
    assert len(published) == len(story.ids)
