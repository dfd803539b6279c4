"""Who makes the clips that are scored: the world itself, for calibration, or a pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from engine.clip import Clip
from engine.codecs.base import SAMPLES_PER_LATENT, SOUND_RATE
from engine.embedded.codecs.sound import SpriteSoundCodec
from engine.embedded.scoring.clip_file import watch
from engine.embedded.scoring.judge import Seen, look
from engine.embedded.scoring.sampled import SampledPipeline
from engine.embedded.scoring.tasks import SECONDS, Task
from engine.embedded.world.canvas import NATIVE
from engine.embedded.world.render import render
from engine.embedded.world.scene import Scene
from engine.embedded.world.sound import sound
from hhray.geometry import ClipGeometry, Ratio, Resolution, Size

Picture = NDArray[np.uint8]
Draw = Callable[[Scene, int], tuple[torch.Tensor, torch.Tensor]]


class Maker(Protocol):
    """Makes the clip of a task."""

    @property
    def native(self) -> Size:
        """Pixels of the frames it makes before they are cropped and enlarged; of 16:9."""

    def make(self, task: Task, path: Path) -> float:
        """Write the task's clip as an MP4; returns the seconds it took to make, without writing it."""

    def round_trip(self, picture: Picture) -> Picture:
        """What its codec leaves of a picture uint8 [H, W, 3] of its native size."""


def geometry_of(resolution: Resolution = Resolution.P256) -> ClipGeometry:
    """Of the clips that are scored."""
    return ClipGeometry(resolution, Ratio.R16_9, SECONDS)


def true_clip(scene: Scene, num_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames uint8 [F, H, W, 3] and sound float32 [2, 2048 F] at 51,200 Hz, as the world has them."""
    heard = sound(scene, SAMPLES_PER_LATENT * num_frames)
    return torch.from_numpy(render(scene, num_frames)), torch.from_numpy(heard)


def through_sound_codec(scene: Scene, num_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, its sound after the latents of the small sound codec."""
    frames, heard = true_clip(scene, num_frames)
    audio = SpriteSoundCodec()
    return frames, audio.decode(audio.encode(heard, SOUND_RATE, torch.Generator()))


def save_clip(frames: torch.Tensor, heard: torch.Tensor, path: Path, resolution: Resolution = Resolution.P256) -> None:
    """Write frames uint8 [F, H, W, 3] and sound float32 [2, N] as the engine delivers them, 3 s of them at most."""
    geometry = geometry_of(resolution)
    Clip(frames, heard, SOUND_RATE, geometry.output, min(len(frames), geometry.num_frames)).save(path)


def seen_in_file(scene: Scene, make: Draw, folder: Path, resolution: Resolution = Resolution.P256) -> Seen:
    """What is seen in the MP4 of a scene that `make` drew and sounded."""
    path = folder / "clip.mp4"
    save_clip(*make(scene, geometry_of().audio_latents), path, resolution)
    return look(watch(path))


class TrueMaker:
    """The world itself: what it makes is right by definition, so that only the scorers can be wrong."""

    def __init__(self, draw: Draw = true_clip) -> None:
        self._draw = draw

    @property
    def native(self) -> Size:
        return NATIVE.size

    def make(self, task: Task, path: Path) -> float:
        began = time.monotonic()
        drawn = self._draw(task.scene, geometry_of().audio_latents)
        taken = time.monotonic() - began
        save_clip(*drawn, path)
        return taken

    def round_trip(self, picture: Picture) -> Picture:
        return picture


class PipelineMaker:
    """A loaded pipeline: it reads the prompt and the files of a task, never its scene."""

    def __init__(self, pipeline: SampledPipeline) -> None:
        self._pipeline = pipeline

    @property
    def native(self) -> Size:
        return self._pipeline.base_size(geometry_of())

    def make(self, task: Task, path: Path) -> float:
        began = time.monotonic()
        clip = self._pipeline(
            task.prompt,
            image=task.image,
            references=task.references,
            video=task.video,
            sound=task.sound,
            duration=SECONDS,
            seed=task.seed,
        )
        taken = time.monotonic() - began
        clip.save(path)
        return taken

    def round_trip(self, picture: Picture) -> Picture:
        return self._pipeline.round_trip(picture)
