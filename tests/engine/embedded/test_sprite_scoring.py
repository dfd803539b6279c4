"""What scores stand for: held-out tasks, counts and controls, a teacher beside its student, the command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.embedded import scores
from engine.embedded.scoring.compare import against_teacher
from engine.embedded.scoring.judge import Seen, SeenThing, judge
from engine.embedded.scoring.makers import TrueMaker, save_clip, true_clip
from engine.embedded.scoring.modes import rounds
from engine.embedded.scoring.mouth import opening
from engine.embedded.scoring.path import SeenTrack
from engine.embedded.scoring.report import differences
from engine.embedded.scoring.rounds import Scored, control, tally_of
from engine.embedded.scoring.sampled import SampledPipeline, load_pipeline
from engine.embedded.scoring.tasks import Task, bounces, held_out_tasks, talks
from engine.embedded.scoring.wilson import Tally
from engine.embedded.world.motion import contacts
from engine.embedded.world.sampling import is_held_out
from engine.embedded.world.scene import Motion, Scene, Speed, Thing
from engine.embedded.world.voice import openness
from engine.messages import ClipJob
from engine.samplers.unipc import UniPCSampler
from hhray.errors import ConfigError
from hhray.model_size import preset
from hhray.served_model import ServedModel

FRAMES = 75


class ShortMaker(TrueMaker):
    """Makes the first eight frames of what it is asked for, or of the same other thing each time."""

    def __init__(self, scene=None, seconds=1.0):
        super().__init__()
        self.scene, self.seconds = scene, seconds

    def make(self, task, path):
        frames, heard = true_clip(self.scene or task.scene, 8)
        save_clip(frames, heard, path)
        return self.seconds


CROSS = Scene((Thing("cross", "pink", Motion.UP),))


def test_held_out_tasks_are_held_out_and_have_enough_bounces_and_faces():
    tasks = held_out_tasks(40, 3)
    assert all(is_held_out(task.scene) for task in tasks)
    assert sum(bounces(task.scene) for task in tasks) >= 8
    assert sum(talks(task.scene) for task in tasks) >= 8
    drawn, more = tasks[:40], tasks[40:]
    assert more
    assert all(len(task.counted) > 2 for task in drawn)
    assert all(task.counted == (("clicks",) if bounces(task.scene) else ("mouth", "speech")) for task in more)
    assert tasks == held_out_tasks(40, 3)
    assert tasks != held_out_tasks(40, 4)


def test_shuffled_clips_fall_to_chance(tmp_path):
    scored = [_labelled(task, tmp_path) for task in held_out_tasks(200, 5)]
    right, chance = tally_of(scored), control(scored, 1)
    assert set(right) == {"colour", "shape", "direction", "tone", "clicks", "mouth", "speech"}
    assert all(one.share == 1 for one in right.values())
    assert min(right["clicks"].total, right["mouth"].total, right["speech"].total) >= 40
    # one in eight; in pairs a colour is there twice as often
    assert all(chance[name].share < 0.25 for name in ("colour", "shape", "direction", "tone"))
    assert all(chance[name].share < 0.3 for name in ("clicks", "mouth", "speech"))
    assert control(scored[:2], 1) == {}


def test_clicks_are_shuffled_among_clips_that_bounce(tmp_path):
    things = [Thing("ball", "red", Motion.BOUNCE, speed, start=0.5) for speed in Speed]
    scored = [_labelled(Task("", Scene((thing,)), 0), tmp_path) for thing in things]
    assert str(tally_of(scored)["clicks"]).endswith("3 of 3")
    assert str(control(scored, 1)["clicks"]).endswith("0 of 3")
    assert control([scored[0]] * 3, 1).get("clicks") is None  # of one speed: they click alike


def test_a_maker_of_other_things_is_found(tmp_path):
    (made,) = rounds(ShortMaker(CROSS), ["t2v"], num_prompts=1, num_each=0, seed=18, folder=tmp_path, calibrated=False)
    assert made.num_clips == 1
    assert {name: one.right for name, one in made.scores.items() if one.total} == {
        "colour": 0,
        "shape": 0,
        "direction": 0,
        "tone": 0,
    }


def test_a_student_is_compared_with_a_teacher_that_takes_longer(tmp_path):
    student, teacher, facts = against_teacher(ShortMaker(), ShortMaker(CROSS, 10.0), 1, 3, tmp_path)
    assert student.num_clips == teacher.num_clips == 1
    assert facts["points_teacher_ahead"]["colour"] == -100
    assert facts["time_ratio"] == 10
    assert differences({"tone": Tally(3, 4)}, {"tone": Tally(4, 4), "shape": Tally(1, 1)}) == {"tone": 25}


def test_other_steps_are_the_base_pass_with_the_sampler_asked_for():
    pipeline = load_pipeline("pico", 3, "unipc")
    batch = pipeline.begin([ClipJob("", "a red ball", 1, "256P", "16:9", 3)])
    assert batch.num_steps == 3
    assert isinstance(batch.denoiser.sampler, UniPCSampler)
    guided = ServedModel(preset("pico"), guided=True)
    longer = SampledPipeline(guided, sampler=UniPCSampler(50))
    assert (longer.served.base_steps, longer.served.guided) == (50, True)  # guided says which weights to load
    assert SampledPipeline(guided).served is guided
    picture = np.full((32, 64, 3), 200, np.uint8)
    assert np.abs(pipeline.round_trip(picture).astype(int) - 200).max() <= 1
    for steps, sampler in ((-1, "unipc"), (8, "euler")):
        with pytest.raises(ConfigError, match="expected 0 or more steps"):
            load_pipeline("pico", steps, sampler)


def test_the_command_prints_and_keeps_what_it_scored(tmp_path, capsys):
    to = tmp_path / "kept"
    kept = ["--json", "--to", str(to), "--sheet", str(to / "s.png")]
    assert scores.main(["--calibrate", "--prompts", "1", "--seed", "3", *kept]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == json.loads((to / "scores.json").read_text())
    assert facts["rounds"]["t2v"]["scores"]["colour"]["share"] == 1
    assert {path.name for path in to.iterdir()} == {"t2v-000.mp4", "scores.json", "s.png"}
    assert scores.main([str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err


def _labelled(task, folder):
    """A clip in which just that is seen which the scene says."""
    scene, times = task.scene, np.arange(FRAMES) / 25
    nowhere = SeenTrack(times, times, times)
    things, clicks = [], []
    for thing in scene.things:
        touches = tuple(contacts(thing, FRAMES / 25) * 25)
        clicks += touches
        things.append(SeenThing(thing.colour, thing.shape, thing.motion, touches, nowhere))
    mouth = tuple(openness(scene.face, times)) if scene.face else (0.0,) * FRAMES
    if scene.face:
        things.append(SeenThing(scene.face.colour, "ball", Motion.STILL, (), nowhere))
    tones = frozenset(thing.shape for thing in scene.things if thing.motion is not Motion.STILL)
    seen = Seen(tuple(things), scene.background, tones, tuple(clicks), mouth, mouth)
    judged = judge(seen, scene, FRAMES)
    return Scored(task, folder, seen, {name: judged[name] for name in task.counted if judged[name]}, 1.0)


def test_a_sliver_has_no_mouth():
    face = np.zeros((3, 40, 60), bool)
    face[:, 20:21, 10:11] = True
    np.testing.assert_array_equal(opening(np.zeros((3, 40, 60, 3), np.uint8), face), [0, 0, 0])
