"""What a maker of clips is asked for, and the held-out prompts it is scored on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from engine.embedded.scoring.judge import CRITERIA
from engine.embedded.world.grammar import prompt
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import Motion, Scene

SECONDS = 3
RARE_SHARE = 5  # clips with a bounce, and clips with a face: at least one to so many prompts
FACE_CRITERIA = ("mouth", "speech")


@dataclass(frozen=True, slots=True)
class Task:
    """One clip to be made: what a client would send, and the scene it has to show.

    `counted` are the criteria it is scored by. Files of conditions: the first frame, references, the video to be edited
    and the sound to be followed.
    """

    prompt: str
    scene: Scene
    seed: int
    counted: tuple[str, ...] = CRITERIA
    image: Path | None = None
    references: tuple[Path, ...] = ()
    video: Path | None = None
    sound: Path | None = None


def held_out_tasks(num_prompts: int, seed: int) -> list[Task]:
    """Prompts whose combinations no scene for training has: `num_prompts` drawn as the made world draws them, and more.

    One clip in eight has a bounce and one in five a face: too few to judge clicks and mouths by. So further scenes that
    have one are drawn, until there is one to every five prompts; they count for clicks, or mouth and speech, alone.
    """
    rng = np.random.default_rng(seed)
    scenes = [sample(rng, unseen=True) for _ in range(num_prompts)]
    tasks = [_task(scene, rng, CRITERIA) for scene in scenes]
    least = num_prompts // RARE_SHARE
    for has, counted in ((bounces, ("clicks",)), (talks, FACE_CRITERIA)):
        for _ in range(least - sum(map(has, scenes))):
            tasks.append(_task(sample_such(rng, has), rng, counted))
    return tasks


def sample_such(rng: Generator, wanted: Callable[[Scene], bool]) -> Scene:
    """A held-out scene of a kind."""
    while True:
        scene = sample(rng, unseen=True)
        if wanted(scene):
            return scene


def bounces(scene: Scene) -> bool:
    """Whether something in it bounces."""
    return any(thing.motion is Motion.BOUNCE for thing in scene.things)


def talks(scene: Scene) -> bool:
    """Whether it shows a face."""
    return scene.face is not None


def draw_seed(rng: Generator) -> int:
    """The seed of a clip."""
    return int(rng.integers(2**31))


def _task(scene: Scene, rng: Generator, counted: tuple[str, ...]) -> Task:
    return Task(prompt(scene, rng), scene, draw_seed(rng), counted)
