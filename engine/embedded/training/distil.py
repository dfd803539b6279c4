"""`python -m engine.embedded.training.distil --to FOLDER`: from a teacher of many steps to a student of eight.

Consistency distillation (Song et al. 2023) on the levels of the 8-step sampler, with the student's own latents as the
place where it is taught (the backward simulation of DMD2, Yin et al. 2024):

1. the student itself samples from pure noise down to a level of the schedule, drawn at random;
2. the teacher goes from there to the next level by small Euler steps of the probability flow;
3. the student's clean prediction at the first level is to be its averaged self's at the second.

Consistency rather than distribution matching, since the latter trains a third network (the critic of the student's
clips) beside student and teacher, which two CPU cores have no time for. It teaches clips from text only.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.embedded.codecs.fields import NUM_USED
from engine.embedded.training.examples import ExampleMaker, Pool, stacked
from engine.embedded.training.flow import from_tokens, spare_rows, to_tokens
from engine.embedded.training.packed import PackedBatch, PackedNetwork
from engine.embedded.training.start import SIZE, new_model
from engine.embedded.training.state import TrainingState
from engine.embedded.world.canvas import native
from engine.model.stream import ItemShape
from engine.samplers.base import sigma_grid
from hhray.geometry import LatentGrid, Ratio
from hhray.model_size import ModelSize
from hhray.served_model import DISTILLED_STEPS

HELD = {"final_linear_video.weight": spare_rows()}
LEVELS = sigma_grid(DISTILLED_STEPS)
SUBSTEPS = 2  # of the teacher from one level to the next
STEPS, BATCH, NUM_LATENTS = 400, 8, 20
RATE, WARM_UP = 3e-4, 20
AUDIO_WEIGHT = 0.5
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
        self, weights: dict[str, Tensor], seed: int = SEED, size: ModelSize = SIZE, batch: int = BATCH
    ) -> None:
        self.seed, self.batch = seed, batch
        self.teacher, self.student, self.averaged = (new_model(0, size) for _ in range(3))
        for model in (self.teacher, self.student, self.averaged):
            _put(model, weights)
        self.teacher_network, self.student_network, self.averaged_network = (
            PackedNetwork(model) for model in (self.teacher, self.student, self.averaged)
        )
        self.state = TrainingState(self.student, HELD)
        self._pool = Pool(ExampleMaker(native(Ratio.R16_9)), NUM_LATENTS, 4000)

    def step(self) -> dict[str, float]:
        """One step; its losses."""
        index = self.state.step
        random = np.random.default_rng([self.seed, index])
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        examples = self._pool.take(random, self.batch, self.batch // 2)
        text = stacked([one.text for one in examples])
        level = int(random.integers(DISTILLED_STEPS))
        start = self._start(examples[0].video.shape, examples[0].audio.shape, generator)
        with torch.no_grad():
            here = self._sampled(start, text, level, generator)
            target = self._target(here, text, level)
        clean = _clean(self.student_network, here, text)
        scale = 1 / LEVELS[level] ** 2
        video = scale * (clean.video - target.video)[:, :NUM_USED].square().mean()
        audio = scale * (clean.audio - target.audio).square().mean()
        torch.autograd.backward(video + AUDIO_WEIGHT * audio)
        norm = self.state.update(self._rate(index))
        _put(self.averaged, self.state.average)
        return {"step": index + 1, "level": level, "video": video.item(), "audio": audio.item(), "gradient": norm}

    def _rate(self, index: int) -> float:
        return RATE * min(1.0, (index + 1) / WARM_UP, max(0.05, 2 * (1 - index / STEPS)))

    def _start(self, video: tuple[int, ...], audio: tuple[int, ...], generator: torch.Generator) -> Pair:
        return Pair(*(torch.randn(self.batch, *shape, generator=generator) for shape in (video, audio)))

    def _sampled(self, start: Pair, text: Tensor, level: int, generator: torch.Generator) -> Pair:
        """The student's latents at a level, from pure noise on."""
        here = start
        for index in range(level):
            here = _clean(self.student_network, here, text).renoised(LEVELS[index + 1], generator)
        return here

    def _target(self, here: Pair, text: Tensor, level: int) -> Pair:
        """Where the averaged student thinks the teacher's way from here leads; at the last level the way's end."""
        end = LEVELS[level + 1]
        width = (LEVELS[level] - end) / SUBSTEPS
        for step in range(SUBSTEPS):
            now = LEVELS[level] - step * width
            here = here.towards(_clean(self.teacher_network, here, text), width / now)
        return here if end == 0 else _clean(self.averaged_network, here, text)


def _clean(network: PackedNetwork, here: Pair, text: Tensor) -> Pair:
    """What the network takes for the clean latents."""
    shape = ItemShape(LatentGrid(*here.video.shape[2:]), here.audio.shape[1], text.shape[1])
    video, audio = network(PackedBatch(shape, (to_tokens(here.video), here.audio, text)))
    return Pair(from_tokens(video, here.video), audio)


@torch.no_grad()
def _put(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    for name, weight in model.named_parameters():
        weight.copy_(weights[name])


def main(argv: list[str] | None = None) -> int:
    """Distil FOLDER/teacher.safetensors to FOLDER/student.safetensors."""
    parser = argparse.ArgumentParser(prog="python -m engine.embedded.training.distil", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="folder of the run, with teacher.safetensors")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after this time")
    parser.add_argument("--seed", type=int, default=SEED, help="of scenes and noise")
    arguments = parser.parse_args(argv)
    until = time.monotonic() + 60 * arguments.minutes
    distiller = Distiller(load_file(arguments.to / "teacher.safetensors"), arguments.seed)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("distilling", total=STEPS)
        while distiller.state.step < STEPS and time.monotonic() < until:
            seen = distiller.step()
            bar.update(task, advance=1, description=f"video {seen['video']:.3f} audio {seen['audio']:.3f}")
    save_file(distiller.state.average, arguments.to / "student.safetensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
