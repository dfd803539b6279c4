"""From a written file to one that may be published, or to none: signed, read back, inspected."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import pytest
import torch

from deployment.content_credentials import ManifestSigner, check_manifest
from deployment.finishing import Finishing, check_marks
from deployment.moderation import Verdict
from deployment.store.base import Claim
from engine.clip import Clip
from engine.marking.clip_marks import marks_of
from engine.messages import MuxReport
from hhray.errors import ConfigError, MarkingFailed
from hhray.geometry import Size
from hhray.marking import UNMARKED, Marking
from hhray.marking_settings import MarkingSettings
from hhray.request import ClipRequest, Mode
from hhray.settings import Settings
from hhray.tasks import NewTask, TaskState
from signing_keys import write_signer

TASK = "22222222-2222-4333-8444-555555555555"
SIZE = Size(128, 64)
FIELD = Marking(watermark="HH", producer="Acme")
SIGNED = Marking(watermark="HH", producer="Acme", signed=True)


class FrameCheck:
    """Refuses bright clips; fails on grey ones, the first time only if it is told so."""

    seen: list[tuple[int, ...]]

    def __init__(self, failures: str = "0"):
        self.failures, self.seen = int(failures), []
        FrameCheck.latest = self

    def check_text(self, text):
        return Verdict.PASSED

    def check_file(self, path, kind):
        return Verdict.PASSED

    def check_frames(self, frames):
        self.seen.append(tuple(frame.shape for frame in frames))
        if self.failures:
            self.failures -= 1
            raise OSError("the model behind it is away")
        return Verdict.REFUSED if frames[-1].mean() > 128 else Verdict.PASSED


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return write_signer(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """A file of a clip so marked, and so bright; each only once."""
    folder, made = tmp_path_factory.mktemp("clips"), {}

    def make(target: Path, marking: Marking, level: int = 20, task_id: str = TASK) -> Path:
        key = (marking.watermark, marking.producer, level, task_id)
        if key not in made:
            frames = torch.full((6, SIZE.height, SIZE.width, 3), level, dtype=torch.uint8)
            clip = Clip(frames, torch.zeros(2, 48_000), 48_000, SIZE, 6)
            made[key] = folder / f"{len(made)}.mp4"
            clip.save(made[key], marks_of(marking, task_id, clip.delivery, "", None))
        return Path(shutil.copy(made[key], target))

    return make


@dataclass
class Bench:
    """A claimed task whose clip is to be finished."""

    store: object
    path: Path
    write: object

    def finish(self, asked: Marking, drawn: Marking, level: int = 20, marks=None, **groups):
        request = ClipRequest(model="happyhorse-1.0-t2v", mode=Mode.T2V, prompt="secret words", marking=asked)
        self.store.create(NewTask("tenant", request, "request", 1.0, True, TASK, 3600.0))
        (claim,) = self.store.claim([TASK], "engine", 60.0)
        self.write(self.path, drawn, level)
        return self.finish_claim(claim, drawn.written if marks is None else marks, groups)

    def finish_claim(self, claim: Claim, marks, groups):
        settings = Settings(data_dir=str(self.path.parent), **groups)
        report = MuxReport(str(self.path), 1, 6, 11_520, 128, 64, "", marks=marks)
        return asyncio.run(Finishing(settings, self.store).finish(claim, report, lambda: {"mux": 0.1}))

    @property
    def task(self):
        return self.store.get(TASK)


@pytest.fixture
def bench(task_store, tmp_path, write):
    return Bench(task_store, tmp_path / "clip.mp4", write)


def test_an_unmarked_clip_passes_as_it_is(bench):
    before = bench.finish(UNMARKED, UNMARKED)
    assert before == {"marking": "none"}
    assert bench.path.is_file()


def test_the_field_is_read_back_and_the_facts_name_what_is_there(bench):
    assert bench.finish(FIELD, FIELD) == {"marking": "watermark,aigc", "producer": "Acme"}


def test_a_signed_clip_is_valid_plays_as_before_and_keeps_its_field(bench, signer, write, tmp_path):
    assert bench.finish(SIGNED, SIGNED, marking=signer) == {"marking": "watermark,aigc,c2pa", "producer": "Acme"}
    check_marks(bench.path, SIGNED, TASK)
    plain = write(tmp_path / "plain.mp4", SIGNED)
    assert packets(bench.path) == packets(plain)
    assert bench.path.read_bytes() != plain.read_bytes()
    assert sorted(one.name for one in tmp_path.glob("*.mp4")) == ["clip.mp4", "plain.mp4"]


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def test_a_signed_clip_that_is_changed_or_another_tasks_is_found_out(bench, signer):
    bench.finish(SIGNED, SIGNED, marking=signer)
    check_manifest(bench.path, TASK)
    with pytest.raises(MarkingFailed, match="not that of its task"):
        check_manifest(bench.path, "another")
    data = bytearray(bench.path.read_bytes())
    data[-50] ^= 1
    bench.path.write_bytes(data)
    with pytest.raises(MarkingFailed, match="reads back as Invalid"):
        check_manifest(bench.path, TASK)


@pytest.mark.parametrize(
    ("asked", "drawn", "marks", "said"),
    [
        (FIELD, UNMARKED, None, "was to be marked watermark,aigc, not none"),
        (FIELD, UNMARKED, FIELD.written, "AIGC field reads back as None"),
        (FIELD, Marking(watermark="HH", producer="Other"), None, "AIGC field reads back as"),
        (UNMARKED, FIELD, None, "was to be marked none, not watermark,aigc"),
        (SIGNED, SIGNED, None, "this engine has no key"),
    ],
)
def test_a_clip_that_lacks_a_mark_is_not_published_and_counts_as_a_fault(bench, asked, drawn, marks, said):
    assert bench.finish(asked, drawn, marks=marks, store={"max_faults": 1}) is None
    assert bench.task.state is TaskState.FAILED
    assert said in bench.task.error_message
    assert not bench.path.exists()


def test_a_fault_of_marking_puts_the_task_back_until_there_were_too_many(bench):
    assert bench.finish(FIELD, UNMARKED) is None
    assert (bench.task.state, bench.task.faults) == (TaskState.PENDING, 1)


def test_a_clip_whose_frames_are_refused_ends_failed_with_the_documented_sentence(bench):
    check = {"check": f"{__name__}:FrameCheck"}
    assert bench.finish(UNMARKED, UNMARKED, level=250, moderation=check) is None
    task = bench.task
    assert (task.state, task.error_code) == (TaskState.FAILED, "DataInspectionFailed")
    assert task.error_message == "Output data may contain inappropriate content."
    assert not bench.path.exists()


def test_frames_are_sampled_from_the_file_and_a_check_that_fails_is_asked_again(bench, monkeypatch):
    monkeypatch.setattr("deployment.finishing.PAUSE_SECONDS", 0.01)
    check = {"check": f"{__name__}:FrameCheck", "options": {"failures": "2"}, "frames": 3}
    assert bench.finish(UNMARKED, UNMARKED, moderation=check) == {"marking": "none"}
    assert FrameCheck.latest.seen == [((64, 128, 3),) * 3] * 3


@pytest.mark.parametrize("policy", ["refuse", "allow"])
def test_a_check_that_goes_on_failing_blocks_a_clip_unless_it_is_allowed(bench, policy):
    check = {"check": f"{__name__}:FrameCheck", "options": {"failures": "9"}, "patience_seconds": 0}
    made = bench.finish(UNMARKED, UNMARKED, moderation=check | {"on_error": policy})
    if policy == "allow":
        assert made == {"marking": "none"}
    else:
        assert made is None
        assert (bench.task.state, bench.task.faults) == (TaskState.PENDING, 1)


def test_a_key_that_does_not_fit_is_refused_at_start(signer, tmp_path):
    other = signer["c2pa_key"].replace("key.pem", "other.pem")
    with pytest.raises(ConfigError, match="nothing can be signed with them"):
        ManifestSigner(MarkingSettings(**signer | {"c2pa_key": other}))
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(ConfigError, match="nothing can be signed with them"):
        ManifestSigner(MarkingSettings(**signer | {"c2pa_key": str(tmp_path / "key.pem")}))
    with pytest.raises(ConfigError, match=r"marking\.c2pa_key: .* cannot be read"):
        ManifestSigner(MarkingSettings(**signer | {"c2pa_key": str(tmp_path / "none.pem")}))
