"""Scored tasks of the other modes: a first frame, a reference, a video to be edited, a voice to be followed.

All of held-out combinations. Prompts of references and edits are few and fixed; what is asked is in them alone.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from engine.embedded.scoring.checks import Check, first_frame, follows_source, on_background
from engine.embedded.scoring.makers import geometry_of, save_clip, true_clip
from engine.embedded.scoring.tasks import SECONDS, Task, draw_seed, sample_such, talks
from engine.embedded.world.canvas import NATIVE, Canvas
from engine.embedded.world.grammar import prompt
from engine.embedded.world.render import render
from engine.embedded.world.sampling import COLOUR_NAMES, sample, sample_thing
from engine.embedded.world.scene import Bulk, Motion, Scene, Thing
from engine.embedded.world.sound import SAMPLE_RATE, sound
from engine.embedded.world.words import CHINESE, ENGLISH
from engine.mux import centre_crop
from hhray.geometry import Size

SHOWN_BACKGROUNDS = ("white", "grey", "dark", "black")  # told apart by their tone alone
REFERENCE_PROMPTS = ("[Image 1] {motion} on a {background} background", "[Image 1]{motion}\uff0c{background}背景")
EDIT_PROMPTS = ("make it {colour}", "change its colour to {colour}", "把它变成{colour}")
VOICE_PROMPT = "a talking {colour} face"
CHINESE_FROM = "把"
SHARPER = 3  # times the native size: more than the delivered one


@dataclass(frozen=True, slots=True)
class Condition:
    """A mode's tasks, whose files are written into a folder, and what is asked beside the usual criteria."""

    tasks: Callable[[int, int, Path], list[Task]]
    check: Check | None = None


def first_frame_tasks(num: int, seed: int, folder: Path) -> list[Task]:
    """The first frame of a true render, as a PNG of the delivered size, and the scene's prompt."""
    rng, tasks = np.random.default_rng(seed), []
    for place in range(num):
        scene = sample(rng, unseen=True)
        path = folder / f"first-{place:03}.png"
        _draw(scene, path)
        tasks.append(Task(prompt(scene, rng), scene, draw_seed(rng), image=path))
    return tasks


def reference_tasks(num: int, seed: int, folder: Path) -> list[Task]:
    """A picture of one thing on white; how it is to move and before what is said. Every fourth prompt is Chinese."""
    rng, tasks = np.random.default_rng(seed), []
    for place in range(num):
        thing = sample_thing(rng, unseen=True)
        behind = str(rng.choice(SHOWN_BACKGROUNDS))
        path = folder / f"reference-{place:03}.png"
        _draw(Scene((Thing(thing.shape, thing.colour, Motion.STILL, bulk=Bulk.LARGE, start=0.5),)), path)
        words, template = (CHINESE, REFERENCE_PROMPTS[1]) if place % 4 == 3 else (ENGLISH, REFERENCE_PROMPTS[0])
        text = template.format(motion=words.motions[thing.motion][0], background=words.backgrounds[behind][0])
        tasks.append(Task(text, Scene((thing,), background=behind), draw_seed(rng), references=(path,)))
    return tasks


def edit_tasks(num: int, seed: int, folder: Path) -> list[Task]:
    """The MP4 of a true render, to be given another colour: the one that makes a held-out combination."""
    rng, tasks = np.random.default_rng(seed), []
    for place in range(num):
        before, after = _recoloured(rng)
        path = folder / f"source-{place:03}.mp4"
        save_clip(*true_clip(before, geometry_of().audio_latents), path)
        template, colour = EDIT_PROMPTS[place % len(EDIT_PROMPTS)], after.things[0].colour
        words = CHINESE if template.startswith(CHINESE_FROM) else ENGLISH
        tasks.append(Task(template.format(colour=words.colours[colour][0]), after, draw_seed(rng), video=path))
    return tasks


def voice_tasks(num: int, seed: int, folder: Path) -> list[Task]:
    """The voice of a face as a WAV file, and a prompt that says the colour but not what is spoken."""
    rng, tasks = np.random.default_rng(seed), []
    for place in range(num):
        scene = sample_such(rng, talks)
        path = folder / f"voice-{place:03}.wav"
        _write_wav(sound(scene, SECONDS * SAMPLE_RATE), path)
        colour = scene.face.colour if scene.face else ""
        tasks.append(Task(VOICE_PROMPT.format(colour=colour), scene, draw_seed(rng), sound=path))
    return tasks


CONDITIONS = {
    "i2v": Condition(first_frame_tasks, first_frame),
    "r2v": Condition(reference_tasks, on_background),
    "edit": Condition(edit_tasks, follows_source),
    "a2v": Condition(voice_tasks),
}


def _recoloured(rng: Generator) -> tuple[Scene, Scene]:
    """A scene of one thing in a colour it has in training, and the same in the one that is held out for it."""
    thing = sample_thing(rng, unseen=True)
    colour = str(rng.choice([name for name in COLOUR_NAMES if name != thing.colour]))
    after = Scene((thing,), background=str(rng.choice(SHOWN_BACKGROUNDS)))
    return replace(after, things=(replace(thing, colour=colour),)), after


def _draw(scene: Scene, path: Path) -> None:
    """The scene's first frame as it is delivered, but drawn sharply: a larger canvas, cropped as the native one is."""
    native, output = NATIVE.size, geometry_of().output
    large = Size(SHARPER * native.width, SHARPER * native.height)
    drawn = render(scene, 1, Canvas(large, NATIVE.aspect))[0]
    rows = centre_crop(np.empty((native.height, native.width, 3), np.uint8), output).shape[0]
    top = (native.height - rows) // 2
    kept = Image.fromarray(drawn[SHARPER * top : SHARPER * (top + rows)])
    kept.resize((output.width, output.height), Image.Resampling.LANCZOS).save(path)


def _write_wav(heard: NDArray[np.float32], path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(heard))
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.round(heard.T * 32767).astype("<i2").tobytes())
