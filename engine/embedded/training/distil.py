"""`python -m engine.embedded.training.distil --to FOLDER`: from a teacher of many steps to a student of eight.

Consistency distillation (Song et al. 2023) on the levels of the 8-step sampler, with the student's own latents as the
place where it is taught (the backward simulation of DMD2, Yin et al. 2024):

1. the student itself samples from pure noise down to a level of the schedule, drawn at random;
2. the teacher goes from there to the next level by small Euler steps of the probability flow;
3. the student's clean prediction at the first level is to be its averaged self's at the second;
4. beside that it goes on with the teacher's own lessons (as Kim et al. 2024 do, CTM): a teacher that is nearly
   consistent leaves small differences to learn from, and a student of these alone forgot what it knew (of 80 clicks
   the teacher had 80 and the student 62, at a rate of 5e-5).

Consistency rather than distribution matching, since the latter trains a third network (the critic of the student's
clips) beside student and teacher, which two CPU cores have no time for. Lessons are those of the teacher: from text,
first frames, references and source videos. Run again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.embedded.training.flow import from_tokens, squared_errors, to_tokens
from engine.embedded.training.fused import fused
from engine.embedded.training.lesson_source import LessonSource, random_of
from engine.embedded.training.lessons import Lesson
from engine.embedded.training.packed import PackedNetwork
from engine.embedded.training.plan import MIXED, Course
from engine.embedded.training.start import SIZE, new_model
from engine.embedded.training.state import FACTS, TrainingState
from engine.embedded.training.transformer import AUDIO_WEIGHT, HELD, losses
from engine.samplers.base import sigma_grid
from hhray.model_size import ModelSize
from hhray.served_model import DISTILLED_STEPS

LEVELS = sigma_grid(DISTILLED_STEPS)
SUBSTEPS = 2  # of the teacher from one level to the next
COURSE = Course(180, 8, 20, begun=0.2, referring=0.08, editing=0.12, ratios=MIXED)
FRESH = 0.5
RATE, WARM_UP, LOWEST = 5e-5, 20, 0.05
SEED = 8


class Pair:
    """Latents of a batch on their way: video [B, 48, T, h, w] and audio [B, A, 64]."""

    def __init__(self, video: Tensor, audio: Tensor) -> None:
        self.video, self.audio = video, audio

    def towards(self, clean: Pair, share: float) -> Pair:
        """A share of the way to clean latents: an Euler step of the flow, whose velocity is (x - x0) / sigma."""
        return Pair(torch.lerp(self.video, clean.video, share), torch.lerp(self.audio, clean.audio, share))

    def renoised(self, level: float, generator: torch.Generator) -> Pair:
        """These, clean, under fresh noise of a level."""
        return Pair(*(one + level * (torch.randn(one.shape, generator=generator) - one) for one in self._both))

    @property
    def _both(self) -> tuple[Tensor, Tensor]:
        return self.video, self.audio


class Distiller:
    """A teacher that stays, and a student that begins as its copy."""

    def __init__(
        self, weights: dict[str, Tensor], seed: int = SEED, size: ModelSize = SIZE, course: Course = COURSE
    ) -> None:
        self.seed, self.course = seed, course
        self.teacher, self.student, self.averaged = (new_model(0, size) for _ in range(3))
        for model in (self.teacher, self.student, self.averaged):
            _put(model, weights)
        self.teacher_network, self.student_network, self.averaged_network = (
            PackedNetwork(model) for model in (self.teacher, self.student, self.averaged)
        )
        self.state = TrainingState(self.student, HELD)
        self.state.begin(weights)
        self._lessons = LessonSource(FRESH)

    def step(self) -> dict[str, float]:
        """One step; its losses, `video` and `audio` those of consistency."""
        index = self.state.step
        random = random_of(self.seed, index)
        lesson = self._lessons.take(self.course, random)
        seen, heard = losses(self.student_network, self._lessons.take(self.course, random))
        torch.autograd.backward(seen + AUDIO_WEIGHT * heard)
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        level = int(random.integers(DISTILLED_STEPS))
        with torch.no_grad():
            here = self._sampled(lesson, level, generator)
            target = self._target(here, lesson, level)
        clean = _clean(self.student_network, here, lesson)
        scale = 1 / LEVELS[level] ** 2
        video = scale * (lesson.video_weight * squared_errors(clean.video, target.video)).mean()
        audio = scale * (lesson.audio_weight * (clean.audio - target.audio).square()).mean()
        torch.autograd.backward(video + AUDIO_WEIGHT * audio)
        norm = self.state.update(self._rate(index))
        _put(self.averaged, self.state.average)
        return {
            "step": index + 1,
            "clips": lesson.batch.size,
            "level": level,
            "video": video.item(),
            "audio": audio.item(),
            "taught": seen.item(),
            "gradient": norm,
        }

    def save(self, folder: Path) -> None:
        """The state, to be taken up again, in `folder`/student; and the averaged student itself."""
        (folder / "student").mkdir(exist_ok=True)
        self.state.save(folder / "student", {"seed": self.seed})
        save_file(self.state.average, folder / "student.safetensors")

    def take_up(self, folder: Path) -> None:
        """Go on from what `save` left there, if anything."""
        if (folder / "student" / FACTS).exists():
            self.state.load(folder / "student")
            _put(self.averaged, self.state.average)

    def _rate(self, index: int) -> float:
        return RATE * min(1.0, (index + 1) / WARM_UP, max(LOWEST, 2 * (1 - index / self.course.steps)))

    def _sampled(self, lesson: Lesson, level: int, generator: torch.Generator) -> Pair:
        """The student's latents at a level, from pure noise on; what is given stays as it is."""
        like = lesson.noised
        here = given(lesson, Pair(*(torch.randn(one.shape, generator=generator) for one in (like.video, like.audio))))
        for index in range(level):
            clean = _clean(self.student_network, here, lesson)
            here = given(lesson, clean.renoised(LEVELS[index + 1], generator))
        return here

    def _target(self, here: Pair, lesson: Lesson, level: int) -> Pair:
        """Where the averaged student thinks the teacher's way from here leads; at the last level the way's end."""
        end = LEVELS[level + 1]
        width = (LEVELS[level] - end) / SUBSTEPS
        for step in range(SUBSTEPS):
            now = LEVELS[level] - step * width
            here = given(lesson, here.towards(_clean(self.teacher_network, here, lesson), width / now))
        return here if end == 0 else _clean(self.averaged_network, here, lesson)


def given(lesson: Lesson, here: Pair) -> Pair:
    """These latents, but for a first frame and sound that are given."""
    given = lesson.noised
    return Pair(
        torch.where(lesson.video_weight > 0, here.video, given.video),
        torch.where(lesson.audio_weight > 0, here.audio, given.audio),
    )


def _clean(network: PackedNetwork, here: Pair, lesson: Lesson) -> Pair:
    """What the network takes for the clean latents."""
    batch = replace(lesson.batch, parts=(to_tokens(here.video), here.audio, *lesson.batch.parts[2:]))
    video, audio, *_ = network(batch)
    return Pair(from_tokens(video, here.video), audio)


@torch.no_grad()
def _put(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    for name, weight in model.named_parameters():
        weight.copy_(weights[name])


def distil(distiller: Distiller, folder: Path, until: float) -> None:
    """Take steps until the course is done or the clock `time.monotonic` says `until`; what was learned is kept."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    steps = distiller.course.steps
    with (
        Progress(*columns, console=Console(stderr=True)) as bar,
        (folder / "distilled.jsonl").open("a", encoding="utf-8") as log,
    ):
        task = bar.add_task("distilling", total=steps, completed=distiller.state.step)
        try:
            while distiller.state.step < steps and time.monotonic() < until:
                begun = time.monotonic()
                seen = distiller.step()
                log.write(json.dumps({**seen, "seconds": round(time.monotonic() - begun, 3)}) + "\n")
                log.flush()
                bar.update(task, advance=1, description=f"video {seen['video']:.3f} audio {seen['audio']:.3f}")
        finally:
            distiller.save(folder)


def main(argv: list[str] | None = None) -> int:
    """Distil FOLDER/teacher.safetensors to FOLDER/student.safetensors."""
    parser = argparse.ArgumentParser(prog="python -m engine.embedded.training.distil", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="folder of the run, with teacher.safetensors")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after this time; run again to go on")
    parser.add_argument("--seed", type=int, default=SEED, help="of scenes and noise (%(default)s)")
    arguments = parser.parse_args(argv)
    until = time.monotonic() + 60 * arguments.minutes
    distiller = Distiller(load_file(arguments.to / "teacher.safetensors"), arguments.seed)
    for model in (distiller.teacher, distiller.student, distiller.averaged):
        fused(model)
    distiller.take_up(arguments.to)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was learned is kept
    distil(distiller, arguments.to, until)
    return 0


if __name__ == "__main__":
    sys.exit(main())
