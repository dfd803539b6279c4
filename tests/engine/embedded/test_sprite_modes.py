"""Tasks of the other modes, and what is asked of their clips beside the usual criteria."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from engine.embedded.scoring.checks import Case, compared, first_frame, follows_source, on_background, psnr
from engine.embedded.scoring.clip_file import Watched
from engine.embedded.scoring.judge import look
from engine.embedded.scoring.makers import TrueMaker, save_clip, true_clip
from engine.embedded.scoring.modes import rounds, tasks_of
from engine.embedded.scoring.path import SeenTrack
from engine.embedded.scoring.tasks import Task
from engine.embedded.world.palette import BACKGROUNDS
from engine.embedded.world.render import render
from engine.embedded.world.sampling import is_held_out
from engine.embedded.world.scene import Motion, Scene, Thing

BALL = Scene((Thing("ball", "red", Motion.RIGHT),))
SILENCE = np.zeros((2, 48_000), np.float32)


class CoarseMaker(TrueMaker):
    """Its codec keeps one pixel in 8 x 8."""

    def round_trip(self, picture):
        return np.repeat(np.repeat(picture[::8, ::8], 8, 0), 8, 1)


@pytest.mark.parametrize("mode", ["i2v", "edit"])
def test_true_renders_meet_all_that_a_mode_asks(mode, tmp_path):
    (made,) = rounds(TrueMaker(), [mode], num_prompts=1, num_each=1, seed=2, folder=tmp_path, calibrated=False)
    asked = {"i2v": {"first frame", "continues"}, "edit": {"track"}}
    assert asked[mode] < set(made.scores)
    assert all(one.share == 1 for one in made.scores.values())


@pytest.mark.parametrize(("mode", "name", "num"), [("i2v", "image", 2), ("r2v", "references", 4), ("edit", "video", 3)])
def test_tasks_have_their_files_and_prompts_tell_no_more_than_is_to_be_done(mode, name, num, tmp_path):
    tasks, _ = tasks_of(mode, num, 1, tmp_path)
    for task in tasks:
        given = {one for one in ("image", "references", "video", "sound") if getattr(task, one)}
        assert given == {name}
        assert is_held_out(task.scene)
        if mode != "i2v":
            assert not any(thing.shape in task.prompt for thing in task.scene.things)
        assert mode != "r2v" or task.prompt.startswith("[Image 1]")
    if mode != "i2v":
        assert {task.prompt.isascii() for task in tasks} == {True, False}


def test_a_voice_is_given_and_its_words_are_not(tmp_path):
    (task,), check = tasks_of("a2v", 1, 1, tmp_path)
    assert check is None
    assert task.prompt == f"a talking {task.scene.face.colour} face"
    assert task.sound.read_bytes().startswith(b"RIFF")


def test_a_first_frame_is_measured_against_what_the_codec_can_do(tmp_path):
    (task,) = tasks_of("i2v", 1, 4, tmp_path)[0]
    frames = render(task.scene, 8)[:, 2:93]
    sharp = _enlarged(frames)
    coarse = _enlarged(np.repeat(np.repeat(frames[:, ::8, ::8], 8, 1), 8, 2)[:, :91])
    for clip, maker, right in ((sharp, TrueMaker(), True), (coarse, TrueMaker(), False), (sharp, CoarseMaker(), True)):
        answers, figures = first_frame(Case(task, clip, look(clip), maker))
        assert answers["first frame"] == [right], figures
    leaping = Watched(np.concatenate([sharp.frames[:2], sharp.frames[:, :, ::-1]]), SILENCE)
    answers, _ = first_frame(Case(task, leaping, look(leaping), TrueMaker()))
    assert answers == {"first frame": [True], "continues": [False]}


def test_an_edited_thing_must_be_where_its_source_is(tmp_path):
    source, count = tmp_path / "source.mp4", 25
    save_clip(*true_clip(BALL, count), source)
    task = Task("make it blue", Scene((replace(BALL.things[0], colour="blue"),)), 1, video=source)
    slow = replace(BALL.things[0], start=0.9)
    for thing, right in ((task.scene.things[0], True), (slow, False), (replace(slow, motion=Motion.UP), False)):
        clip = Watched(render(Scene((thing,)), count)[:, 2:93], SILENCE)
        assert follows_source(Case(task, clip, look(clip), TrueMaker()))[0] == {"track": [right]}
    grey = Watched(np.full((count, 128, 224, 3), 128, np.uint8), SILENCE)
    assert follows_source(Case(task, grey, look(grey), TrueMaker()))[0] == {"track": [False]}


def test_tracks_are_compared_where_both_are_seen():
    time = np.linspace(0, 1, 50)
    moving = SeenTrack(time, np.full(50, 0.5), np.full(50, 0.2))
    gone = np.where(time > 0.8, np.nan, time)
    assert compared(moving, SeenTrack(gone, moving.y, moving.size)) == pytest.approx((0, 1))
    apart, agreement = compared(moving, SeenTrack(1 - time, moving.y, moving.size))
    assert apart > 0.3
    assert agreement == pytest.approx(-1)
    assert compared(moving, SeenTrack(time * np.nan, moving.y, moving.size)) == (float("inf"), 0)


@pytest.mark.parametrize("background", ["white", "grey", "dark", "black", "cream", "pale blue"])
def test_plain_backgrounds_are_told_apart(background):
    clip = Watched(render(replace(BALL, background=background), 4), SILENCE)
    seen = look(clip)
    for asked in BACKGROUNDS:
        case = Case(Task("", replace(BALL, background=asked), 0), clip, seen, TrueMaker())
        assert on_background(case)[0] == {"background": [asked == background]}


def test_psnr_is_that_of_its_formula():
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black, black) == 99
    assert psnr(black, black + 255) == 0
    assert psnr(black, black + 16) == pytest.approx(24.05, abs=0.01)


def _enlarged(frames):
    """Frames [F, 91, 160, 3] at the size at which clips are watched."""
    large = [np.asarray(Image.fromarray(one).resize((224, 128), Image.Resampling.BICUBIC)) for one in frames]
    return Watched(np.stack(large), SILENCE)
