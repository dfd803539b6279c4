"""One batch from claim to end, with a recording gang in place of rank processes and the real store."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from deployment.artifacts import ArtifactStore, DirectoryArtifacts, input_key, open_artifacts
from deployment.clip_run import ClipRun
from deployment.lease_keeper import LeaseKeeper
from deployment.store.base import Claim
from deployment.store.sqlite import SqliteStore
from engine.messages import ClipJob, MuxReport, StepReport
from hhray.blocks import Block
from hhray.errors import GangDied, MediaError, RequestError
from hhray.geometry import Resolution
from hhray.model_size import preset
from hhray.request import ClipRequest, Media, MediaType, Mode
from hhray.served_model import ServedModel
from hhray.settings import load_settings
from hhray.tasks import EngineRecord, NewTask, Task, TaskState


class RecordingGang:
    """Gang's calls without ranks: steps take `step_seconds`, one command after another, as on a rank's one thread."""

    def __init__(self, scratch: Path, step_seconds: float) -> None:
        self.fault: Exception | None = None
        self.scratch, self.step_seconds = scratch, step_seconds
        self.commands: list[tuple[int, int]] = []
        self.most_queued = 0
        self.ended: list[str] = []
        self.before_step: Callable[[int], None] = lambda step: None
        self.begin_error: Exception | None = None
        self.jobs: tuple[ClipJob, ...] = ()
        self._queued = 0
        self._turn = asyncio.Lock()

    async def begin(self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block, limit: float) -> None:
        self.jobs = jobs
        if self.begin_error is not None:
            raise self.begin_error

    def steps(self, batch_id: str, first: int, count: int, limit: float) -> asyncio.Future[StepReport]:
        self._queued += 1
        self.most_queued = max(self.most_queued, self._queued)
        return asyncio.ensure_future(self._steps(first, count))

    async def _steps(self, first: int, count: int) -> StepReport:
        async with self._turn:
            self.before_step(first)
            await asyncio.sleep(self.step_seconds * count)
            self.commands.append((first, count))
            self._queued -= 1
            return StepReport(first, count, self.step_seconds * count, 0, 0)

    async def decode(self, batch_id: str, index: int, limit: float) -> None:
        pass

    async def mux(self, batch_id: str, index: int, name: str, limit: float) -> MuxReport:
        path = self.scratch / name
        path.write_bytes(b"clip")
        return MuxReport(str(path), 4, 75, 144000, 320, 320, "a notice")

    async def end(self, batch_id: str, limit: float) -> None:
        self.ended.append(batch_id)


@dataclass
class OwnSeat:
    """Of a batch that nobody asks for its ranks."""

    gang: RecordingGang
    block: Block = field(default_factory=lambda: Block(0, 2))
    is_asked: bool = False

    def going_on(self, units_done: int, seconds: float) -> None:
        pass


class Bench:
    """Store, keeper and artifacts around a run."""

    def __init__(self, home: Path, store: SqliteStore) -> None:
        self.settings = load_settings(overrides={"data_dir": str(home), "engine": {"preset": "pico"}})
        self.store = store
        self.artifacts: ArtifactStore = DirectoryArtifacts(home / "artifacts", b"secret" * 4)
        self.keeper = LeaseKeeper(store, "engine", 5.0, 0.02, lambda: EngineRecord("engine", 2, "pico", "busy"))
        self.home = home

    def run(self, claims: list[Claim], gang: RecordingGang) -> None:
        run = ClipRun(
            claims,
            seat=OwnSeat(gang),  # type: ignore[arg-type]
            store=self.store,
            artifacts=self.artifacts,
            keeper=self.keeper,
            settings=self.settings,
            cost=self.settings.cost_model(ServedModel(preset("pico"))),
        )
        asyncio.run(run.run())

    def state(self, task: Task) -> Task:
        found = self.store.get(task.task_id)
        assert found is not None
        return found


@pytest.fixture
def bench(tmp_path: Path, task_store: SqliteStore) -> Iterator[Bench]:
    bench = Bench(tmp_path, task_store)
    yield bench
    bench.keeper.close()


@pytest.fixture
def claims(task_store: SqliteStore, add_task: Callable[..., Task]) -> list[Claim]:
    ids = [add_task().task_id for _ in range(2)]
    return task_store.claim(ids, "engine", 5.0)


def gang_of(bench: Bench, step_seconds: float = 0.01) -> Any:
    return RecordingGang(bench.home, step_seconds)


def content(artifacts: ArtifactStore, key: str) -> bytes:
    with artifacts.open_local(key) as path:
        return path.read_bytes()


@pytest.mark.parametrize("where", ["directory", "s3"])
def test_media_are_local_files_from_the_first_command_to_the_end_and_copies_go_then(
    bench: Bench, task_store: SqliteStore, request: pytest.FixtureRequest, where: str
) -> None:
    if where == "s3":
        bench.artifacts = open_artifacts(request.getfixturevalue("s3_server").settings(bench.home), b"secret" * 4)
    task_id = str(uuid.uuid4())
    media = Media(
        type=MediaType.FIRST_FRAME, key=bench.artifacts.put_bytes(input_key(task_id, 0, "tenant"), b"picture").key
    )
    clip = ClipRequest(
        model="happyhorse-1.0-i2v", mode=Mode.I2V, prompt="", resolution=Resolution.P256, duration=3, media=(media,)
    )
    task_store.create(NewTask("tenant", clip, "request", 1.0, True, task_id, 3600.0))
    gang, seen = gang_of(bench), []
    gang.before_step = lambda step: seen.append(Path(gang.jobs[0].images[0]).read_bytes())
    (claim,) = task_store.claim([task_id], "engine", 5.0)
    bench.run([claim], gang)
    task = bench.state(claim.task)
    assert task.state is TaskState.SUCCEEDED
    assert task.artifact_key == f"clips/t-tenant/{task_id}/1.mp4"
    assert content(bench.artifacts, task.artifact_key) == b"clip"
    assert seen
    assert set(seen) == {b"picture"}
    assert Path(gang.jobs[0].images[0]).exists() is (where == "directory")


def test_a_clip_whose_media_are_gone_ends_failed_and_blames_no_gang(bench: Bench, task_store: SqliteStore) -> None:
    task_id = str(uuid.uuid4())
    key = bench.artifacts.put_bytes(input_key(task_id, 0, "tenant"), b"picture").key
    clip = ClipRequest(
        model="happyhorse-1.0-i2v", mode=Mode.I2V, prompt="", media=(Media(type=MediaType.FIRST_FRAME, key=key),)
    )
    task_store.create(NewTask("tenant", clip, "request", 1.0, True, task_id, 3600.0))
    bench.artifacts.delete(key)
    (claim,) = task_store.claim([task_id], "engine", 5.0)
    bench.run([claim], gang_of(bench))
    task = bench.state(claim.task)
    assert (task.state, task.error_code, task.faults) == (TaskState.FAILED, "NotFound", 0)


def test_a_batch_is_published_with_its_stages_and_notice(bench: Bench, claims: list[Claim]) -> None:
    gang = gang_of(bench)
    bench.run(claims, gang)
    for claim in claims:
        task = bench.state(claim.task)
        assert task.state is TaskState.SUCCEEDED
        assert task.notice == "a notice"
        assert task.facts == {
            "layout": f"ranks 0-1 of {bench.settings.engine.ranks}",
            "weights": "",
            "marking": "none",
        }
        assert content(bench.artifacts, task.artifact_key) == b"clip"
        assert task.ended_at is not None
        assert task.started_at is not None
        service = sum(seconds for stage, seconds in task.stages.items() if stage != "queue_wait")
        assert service == pytest.approx(task.ended_at - task.started_at, abs=0.02)
    assert len(gang.ended) == 1


def test_a_deterministic_request_becomes_a_deterministic_job(bench: Bench, claims: list[Claim]) -> None:
    asked = claims[0].task.request.model_copy(update={"deterministic": True})
    gang = gang_of(bench)
    bench.run([replace(claims[0], task=replace(claims[0].task, request=asked)), claims[1]], gang)
    assert [job.deterministic for job in gang.jobs] == [True, False]


def test_one_command_is_queued_ahead_and_short_steps_are_joined(bench: Bench, claims: list[Claim]) -> None:
    short, long = gang_of(bench, 0.05), gang_of(bench, 0.3)
    bench.run(claims[:1], short)
    # The first two go out before anything is measured; then 0.25 s of 0.05 s steps make a command. Long ones have a
    # boundary after each: none of them waits behind another once they have been measured.
    assert short.commands == [(0, 1), (1, 1), (2, 5), (7, 1)] or short.commands == [(0, 1), (1, 1), (2, 4), (6, 2)]
    bench.run(claims[1:], long)
    assert long.commands == [(step, 1) for step in range(8)]
    assert short.most_queued == long.most_queued == 2


def test_a_cancel_is_seen_between_commands_and_the_neighbour_is_requeued(bench: Bench, claims: list[Claim]) -> None:
    gang = gang_of(bench, 0.26)
    cancelled, neighbour = (claim.task for claim in claims)

    def cancel(step: int) -> None:
        if step == 2:
            bench.store.request_cancel(cancelled.task_id, None)

    gang.before_step = cancel
    bench.run(claims, gang)
    assert gang.commands == [(step, 1) for step in range(4)], "the command sent ahead still ends"
    assert bench.state(cancelled).state is TaskState.CANCELED
    requeued = bench.state(neighbour)
    assert (requeued.state, requeued.faults) == (TaskState.PENDING, 0)


def test_a_drain_puts_running_clips_back_without_a_fault(bench: Bench, claims: list[Claim]) -> None:
    gang = gang_of(bench, 0.3)
    gang.before_step = lambda step: bench.store.set_drain(0.0) if step == 1 else None
    bench.run(claims, gang)
    assert len(gang.commands) < 8
    for claim in claims:
        task = bench.state(claim.task)
        assert (task.state, task.faults) == (TaskState.PENDING, 0)


def test_a_dead_gang_releases_its_claims_with_a_fault(bench: Bench, claims: list[Claim]) -> None:
    gang = gang_of(bench)
    gang.begin_error = GangDied("rank 1 died")
    gang.fault = gang.begin_error
    with pytest.raises(GangDied):
        bench.run(claims, gang)
    for claim in claims:
        task = bench.state(claim.task)
        assert (task.state, task.faults) == (TaskState.PENDING, 1)
    assert gang.ended == []


def test_a_request_that_cannot_be_run_fails_alone(bench: Bench, claims: list[Claim]) -> None:
    gang = gang_of(bench)
    gang.begin_error = MediaError("UnsupportedFileFormat", "no picture")
    with pytest.raises(RequestError):
        bench.run(claims, gang)
    assert [bench.state(claim.task).state for claim in claims] == [TaskState.RUNNING] * 2, "still held, to be run alone"
    bench.run(claims[:1], gang)
    task = bench.state(claims[0].task)
    assert (task.state, task.error_code) == (TaskState.FAILED, "BadRequest.UnsupportedFileFormat")


def test_a_result_whose_lease_was_lost_is_dropped_with_its_file(bench: Bench, claims: list[Claim]) -> None:
    gang = gang_of(bench, 0.3)
    claim = claims[0]

    def steal(step: int) -> None:
        if step == 7:
            bench.store.release(claim.task.task_id, "engine", claim.fence)
            bench.store.claim([claim.task.task_id], "another engine", 60.0)

    gang.before_step = steal
    bench.run([claim], gang)
    task = bench.state(claim.task)
    assert (task.state, task.attempt) == (TaskState.RUNNING, 2)
    clips = bench.home / "artifacts" / "clips" / task.task_id
    assert not clips.exists() or not list(clips.iterdir())
