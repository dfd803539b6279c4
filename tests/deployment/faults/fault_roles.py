"""What the killed processes do: real store, artifacts, keeper, run, publication, intake and janitor; only the ranks are
replaced, by sleeps of milliseconds and files of random bytes."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import deployment.intake
from crash_hooks import Crash, HalfUploads, Hooked, hooked_store
from deployment.artifacts import DirectoryArtifacts, input_key
from deployment.clip_run import ClipRun
from deployment.intake import MediaIntake
from deployment.janitor import Janitor, sweep_scratch
from deployment.lease_keeper import LeaseKeeper
from deployment.store.base import Claim
from engine.messages import ClipJob, MuxReport, StepReport
from fault_stores import open_fault_store
from hhray.blocks import Block
from hhray.errors import ArtifactsUnavailable, StoreUnavailable
from hhray.geometry import Ratio, Resolution
from hhray.model_size import preset
from hhray.request import ClipRequest, Media, MediaType, Mode
from hhray.served_model import ServedModel
from hhray.settings import load_settings
from hhray.tasks import EngineRecord, NewTask

SECRET = b"secret" * 4
STORE_VERBS = "create claim_media media_ready claim renew publish release reap fold"
Values = dict[str, Any]


class FakeGang:
    """Gang's calls without ranks. Files hold random bytes: no two attempts write the same."""

    def __init__(self, scratch: Path, crash: Crash, step_seconds: float, num_bytes: int, gate: str = "") -> None:
        self.fault: Exception | None = None
        self._gate = gate
        self._scratch, self._crash, self._seconds, self._num_bytes = scratch, crash, step_seconds, num_bytes

    async def begin(self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block, limit: float) -> None:
        self._crash.reach("after begin")
        while self._gate and not Path(self._gate).exists():
            await asyncio.sleep(0.01)

    def steps(self, batch_id: str, first: int, count: int, limit: float) -> asyncio.Future[StepReport]:
        return asyncio.ensure_future(self._steps(first, count))

    async def _steps(self, first: int, count: int) -> StepReport:
        await asyncio.sleep(self._seconds * count)
        if first:
            self._crash.reach("between steps")
        return StepReport(first, count, self._seconds * count, 0, 0)

    async def decode(self, batch_id: str, index: int, limit: float) -> None:
        self._crash.reach("before decode")
        await asyncio.sleep(self._seconds)
        self._crash.reach("after decode")

    async def mux(self, batch_id: str, index: int, name: str, limit: float) -> MuxReport:
        self._scratch.mkdir(parents=True, exist_ok=True)
        path = self._scratch / name
        path.write_bytes(os.urandom(self._num_bytes))
        self._crash.reach("file written")
        return MuxReport(str(path), self._num_bytes, 75, 144000, 320, 320, "")

    async def end(self, batch_id: str, limit: float) -> None:
        pass


class FakeSeat:
    """A seat that is never asked to move."""

    is_asked = False
    block = Block(0, 1)

    def __init__(self, gang: FakeGang) -> None:
        self.gang = gang

    def going_on(self, units_done: int, seconds: float) -> None:
        pass


def engine(
    settings: Values,
    name: str,
    crash: str = "",
    note: str = "",
    tasks: list[str] | None = None,
    step_seconds: float = 0.001,
    num_bytes: int = 2000,
    by: str = "SIGKILL",
    busy_seconds: float = 0.0,
    gate: str = "",
) -> None:
    """An engine: claims the oldest tasks, two of a shape at a time - first `tasks`, and if it has a crash no others.
    No step is made before the file `gate` is there, if one is named."""
    logging.disable(logging.ERROR)
    values, crashing = load_settings(overrides=settings), Crash(crash, note, by)
    sweep_scratch(values.scratch_dir, values.store.orphan_grace_seconds)
    store = hooked_store(open_fault_store(values, busy_seconds), crashing, STORE_VERBS)
    artifacts = HalfUploads(values.artifact_dir, SECRET)
    artifacts.crash = crashing
    lease = values.store.lease_seconds
    keeper = LeaseKeeper(store, name, lease, values.router.heartbeat_seconds, lambda: EngineRecord(name, 1, "", "busy"))
    gang = FakeGang(values.scratch_dir, crashing, step_seconds, num_bytes, gate)
    cost = values.cost_model(ServedModel(preset("pico")))
    parts = {
        "seat": FakeSeat(gang),
        "store": store,
        "artifacts": Hooked(artifacts, crashing, "put_file delete_other_attempts"),
        "keeper": Hooked(keeper, crashing, "drop"),
        "settings": values,
        "cost": cost,
    }
    if tasks:
        _run(store.claim(tasks, name, lease), parts)
    while by != "SIGKILL" or not crash:
        try:
            claims = store.claim_oldest(name, lease, 2)
            if claims:
                _run(claims, parts)
            else:
                time.sleep(0.01)
        except (StoreUnavailable, ArtifactsUnavailable):
            time.sleep(0.05)


def _run(claims: list[Claim], parts: Values) -> None:
    asyncio.run(ClipRun(claims, **parts).run())


def janitor(settings: Values, crash: str = "", note: str = "", busy_seconds: float = 0.0) -> None:
    """The router's clockwork, faster."""
    logging.disable(logging.ERROR)
    values = load_settings(overrides=settings)
    store = hooked_store(open_fault_store(values, busy_seconds), Crash(crash, note), STORE_VERBS)
    work = Janitor(store, DirectoryArtifacts(values.artifact_dir, SECRET), values.store)
    while True:
        try:
            work.reap()
            work.expire()
            work.collect()
        except StoreUnavailable:
            pass
        time.sleep(0.02)


def client(settings: Values, keys: list[str], acks: str, media: str = "", crash: str = "", note: str = "") -> None:
    """An ingress: creates a task for each idempotency key that `acks` does not hold, and notes it there afterwards."""
    values, crashing = load_settings(overrides=settings), Crash(crash, note)
    store = hooked_store(open_fault_store(values), crashing, STORE_VERBS)
    artifacts = Hooked(DirectoryArtifacts(values.artifact_dir, SECRET), crashing, "put_bytes")
    file = os.open(acks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    known = {line.split("\t")[0] for line in Path(acks).read_text(encoding="utf-8").splitlines()}
    for key in keys:
        if key not in known:
            new = new_task(key)
            if media:
                item = artifacts.put_bytes(input_key(new.task_id, 0, new.tenant), Path(media).read_bytes())
                new = new_task(key, new.task_id, item.key)
            task = store.create(new)
            os.write(file, f"{key}\t{task.task_id}\n".encode())


def new_task(key: str, task_id: str = "", media_key: str = "") -> NewTask:
    """A task of a small clip; with a first frame that lies in the artifact store when `media_key` is given."""
    media = (Media(type=MediaType.FIRST_FRAME, url="", key=media_key),) if media_key else ()
    request = ClipRequest(
        model="happyhorse-1.0-i2v" if media else "happyhorse-1.0-t2v",
        mode=Mode.I2V if media else Mode.T2V,
        prompt=key,
        resolution=Resolution.P256,
        ratio=Ratio.R1_1,
        duration=3,
        media=media,
    )
    number = task_id or f"00000000-0000-4000-8000-{os.urandom(6).hex()}"
    return NewTask("tenant", request, "request", 1.0, not media, number, 3600.0, idempotency_key=key)


def intake(settings: Values, crash: str = "", note: str = "") -> None:
    """The media intake of an ingress."""
    logging.disable(logging.ERROR)
    values = load_settings(overrides=settings)
    store = hooked_store(open_fault_store(values), Crash(crash, note), STORE_VERBS)
    artifacts = DirectoryArtifacts(values.artifact_dir, SECRET)
    cost = values.cost_model(ServedModel(preset("pico")))
    deployment.intake.LEASE_MARGIN_SECONDS = 0.3  # in this process only: a dead intake is replaced as fast as an engine
    work = MediaIntake(values, store, artifacts, cost, f"intake-{os.getpid()}-{threading.get_ident()}", lambda _: None)
    while True:
        if not work.run_once():
            time.sleep(0.01)
