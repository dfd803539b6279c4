"""The shipped weights, end to end on a small fixed set: six prompts, six files, scores."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine.embedded
from engine.embedded.scoring.judge import judge
from engine.embedded.scoring.makers import PipelineMaker, seen_in_file, true_clip
from engine.embedded.scoring.rounds import score, tally_of
from engine.embedded.scoring.sampled import load_pipeline
from engine.embedded.scoring.tasks import Task
from engine.embedded.world.sampling import is_held_out
from engine.embedded.world.scene import Face, Motion, Scene, Thing
from hhray.request import Language

WEIGHTS = Path(engine.embedded.__file__).parent / "weights" / "distill"
MOST_SECONDS = 5.0  # a clip
LEAST_SHARE = 0.85  # of all that is asked; shuffled prompts reach a fifth


def _task(prompt, *things, face=None):
    return Task(prompt, Scene(things, face), seed=len(prompt))


TASKS = [
    _task("a purple star moving right", Thing("star", "purple", Motion.RIGHT)),
    _task("a blue square moving up", Thing("square", "blue", Motion.UP)),
    _task("a cyan ball growing", Thing("ball", "cyan", Motion.GROW)),
    _task("a red ring bouncing", Thing("ring", "red", Motion.BOUNCE)),
    _task("一个黄色的星星转圈", Thing("star", "yellow", Motion.CIRCLE)),
    _task('a yellow face says "hello"', face=Face("yellow", Language.ENGLISH, 0)),
]


def test_the_fixed_prompts_are_held_out_and_can_be_met(tmp_path):
    assert all(is_held_out(task.scene) for task in TASKS)
    task = TASKS[3]
    answers = judge(seen_in_file(task.scene, true_clip, tmp_path), task.scene, 75)
    assert all(all(right) for right in answers.values())


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"the trained weights are not in this checkout: no {WEIGHTS}")
def test_the_embedded_weights_make_what_is_asked(tmp_path):
    scored = score(TASKS, PipelineMaker(load_pipeline("embedded")), tmp_path, "clip")
    assert max(one.seconds for one in scored) < MOST_SECONDS
    counts = tally_of(scored)
    right, total = sum(one.right for one in counts.values()), sum(one.total for one in counts.values())
    assert right >= LEAST_SHARE * total, {name: str(one) for name, one in counts.items()}
    assert counts["colour"].right >= 5
