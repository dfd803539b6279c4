"""`python -m engine.embedded.training.transformer --to FOLDER`: teaches the transformer by flow matching.

Run again, it goes on where it was stopped, with new scenes to draw on. The same seed and plan give the same weights if
nothing interrupts. Writes state.safetensors, progress.jsonl (step, losses, seconds), teacher.safetensors (the
averaged weights) and, where there is a video codec to draw with, pictures.png into the folder.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.checkpoint.names import VIDEO_FILE
from engine.embedded import WEIGHTS
from engine.embedded.codecs.video import SpriteVideoCodec
from engine.embedded.training.flow import from_tokens, spare_rows, squared_errors
from engine.embedded.training.fused import fused
from engine.embedded.training.lesson_source import LessonSource, random_of
from engine.embedded.training.lessons import Lesson
from engine.embedded.training.packed import PackedNetwork
from engine.embedded.training.pictures import save_pictures
from engine.embedded.training.plan import PLANS, Plan
from engine.embedded.training.start import SIZE, new_model
from engine.embedded.training.state import FACTS, TrainingState
from hhray.model_size import ModelSize

HELD = {"final_linear_video.weight": spare_rows()}
AUDIO_WEIGHT = 0.5
LEAST_LEVEL = 0.4  # below it errors count no more than there
SAVE_SECONDS = 240.0


class Teacher:
    """Takes steps of a plan on one device."""

    def __init__(self, plan: Plan, seed: int, device: str = "cpu", size: ModelSize = SIZE) -> None:
        self.plan, self.seed, self.device = plan, seed, torch.device(device)
        self.model = new_model(seed, size).to(self.device)
        self.network = PackedNetwork(self.model)
        self.state = TrainingState(self.model, HELD)
        self._lessons = LessonSource(plan.fresh)

    def step(self) -> dict[str, float]:
        """One step; its losses."""
        index = self.state.step
        lesson = self._lessons.take(self.plan.course(index), random_of(self.seed, index)).to(self.device)
        video, audio = losses(self.network, lesson)
        torch.autograd.backward(video + AUDIO_WEIGHT * audio)
        norm = self.state.update(self.plan.rate_at(index))
        return {
            "step": index + 1,
            "clips": lesson.batch.size,
            "video": video.item(),
            "audio": audio.item(),
            "gradient": norm,
        }


def losses(network: PackedNetwork, lesson: Lesson) -> tuple[Tensor, Tensor]:
    """Mean squared errors of clean latents that count, of video and of audio, weighted as those of velocities are."""
    video, audio = network(lesson.batch)
    target = lesson.noised
    weight = 1 / lesson.sigma.to(audio.device).clamp(min=LEAST_LEVEL).square()[:, None, None]
    wrong = squared_errors(from_tokens(video, target.video), target.clean_video)
    heard = (audio - target.clean_audio).square()
    video_weight = lesson.video_weight * weight[..., None, None]
    return (wrong * video_weight).mean(), (heard * lesson.audio_weight * weight).mean()


def train(teacher: Teacher, folder: Path, until: float) -> None:
    """Take steps until the plan is done or the clock `time.monotonic` says `until`; what was learned is kept whatever
    happens, also when it is interrupted."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        Progress(*columns, console=Console(stderr=True)) as bar,
        (folder / "progress.jsonl").open("a", encoding="utf-8") as log,
    ):
        task = bar.add_task("training", total=teacher.plan.total, completed=teacher.state.step)
        try:
            for seen in _steps(teacher, folder, until):
                log.write(json.dumps(seen) + "\n")
                log.flush()
                bar.update(task, advance=1, description=f"video {seen['video']:.3f} audio {seen['audio']:.3f}")
        finally:
            save(teacher, folder)


def _steps(teacher: Teacher, folder: Path, until: float) -> Iterator[dict[str, float]]:
    """Losses and seconds of each step; saves now and then."""
    saved = time.monotonic()
    while teacher.state.step < teacher.plan.total and time.monotonic() < until:
        begun = time.monotonic()
        seen = teacher.step()
        yield {**seen, "seconds": round(time.monotonic() - begun, 3)}
        if time.monotonic() - saved > SAVE_SECONDS:
            save(teacher, folder)
            saved = time.monotonic()


def save(teacher: Teacher, folder: Path) -> None:
    """The state, the averaged weights by themselves, and pictures of what they can do."""
    state = teacher.state
    state.save(folder, {"seed": teacher.seed})
    save_file(state.average, folder / "teacher.safetensors")
    place = next((place for place in (folder, WEIGHTS) if (place / VIDEO_FILE).is_file()), None)
    if place is None or not state.step:
        return
    latents = teacher.plan.course(state.step - 1).num_latents
    state.show(state.average)
    save_pictures(teacher.model, SpriteVideoCodec.load(place), folder / "pictures.png", latents)
    state.show(state.masters)


def main(argv: list[str] | None = None) -> int:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(prog="python -m engine.embedded.training.transformer", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="folder of the run")
    parser.add_argument("--plan", choices=sorted(PLANS), default="cpu", help="how long, how much at once (cpu)")
    parser.add_argument("--start", type=Path, metavar="FILE", help="a network's safetensors to begin a new run with")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after this time; run again to go on")
    parser.add_argument("--seed", type=int, default=4, help="of weights, scenes and noise (4)")
    arguments = parser.parse_args(argv)
    arguments.to.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(PLANS[arguments.plan], arguments.seed, arguments.device)
    fused(teacher.model)
    if (arguments.to / FACTS).exists():
        teacher.state.load(arguments.to)
    elif arguments.start:
        teacher.state.begin(load_file(arguments.start))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was learned is kept
    train(teacher, arguments.to, time.monotonic() + 60 * arguments.minutes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
