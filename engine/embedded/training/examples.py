"""Scenes as the transformer sees them: video and audio latents, text features, and where the scene is free to begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from engine.codecs.base import SAMPLES_PER_LATENT, SOUND_RATE
from engine.embedded.codecs.fields import fields
from engine.embedded.codecs.sound import SpriteSoundCodec
from engine.embedded.meaning import Wish, meaning
from engine.embedded.world.canvas import NATIVE, Canvas
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import Scene
from engine.embedded.world.sound import sound
from hhray.geometry import TEMPORAL_STRIDE

NUM_CHOICES = 4  # start and across of two things
EDGE = 0.002  # choices nearer to 0 or 1 than this count as this


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """`video` float32 [48, T, h, w], `audio` float32 [A, 64], `text` float32 [4, 64] and `choices` float32 [4]: the
    scene's free numbers (where its things begin and which way they take) as quantiles of a normal distribution."""

    scene: Scene
    video: NDArray[np.float32]
    audio: NDArray[np.float32]
    text: NDArray[np.float32]
    choices: NDArray[np.float32]

    @property
    def num_bytes(self) -> int:
        return self.video.nbytes + self.audio.nbytes


def audio_latents(num_latents: int) -> int:
    """Audio latents beside `num_latents` video latents."""
    return TEMPORAL_STRIDE * (num_latents - 1) + 1


class ExampleMaker:
    """Makes examples of scenes on a canvas."""

    def __init__(self, canvas: Canvas = NATIVE) -> None:
        self.canvas = canvas
        self._sound = SpriteSoundCodec()

    def make(self, scene: Scene, num_latents: int) -> Example:
        """The example of a scene."""
        samples = sound(scene, SAMPLES_PER_LATENT * audio_latents(num_latents), self.canvas.aspect)
        audio = self._sound.encode(torch.from_numpy(samples), SOUND_RATE, torch.Generator()).T.contiguous().numpy()
        return Example(scene, fields(scene, num_latents, self.canvas), audio, meaning(Wish(scene)), choices(scene))

    def draw(self, rng: Generator, num_latents: int) -> Example:
        """The example of a scene for training."""
        return self.make(sample(rng), num_latents)


def choices(scene: Scene) -> NDArray[np.float32]:
    """The free numbers of a scene as quantiles: float32 [4]; 0 where there is nothing to choose."""
    free = [0.5] * NUM_CHOICES
    for place, thing in enumerate(scene.things):
        free[2 * place : 2 * place + 2] = [thing.start, thing.across]
    if scene.face:
        free[1] = scene.face.across
    quantile = NormalDist().inv_cdf
    return np.array([quantile(min(max(one, EDGE), 1 - EDGE)) for one in free], np.float32)


class Pool:
    """Examples that are used several times, each time under other noise: making one costs as much as learning it."""

    def __init__(self, maker: ExampleMaker, num_latents: int, capacity: int) -> None:
        self._maker, self._num_latents, self._capacity = maker, num_latents, capacity
        self._held: list[Example] = []
        self._next = 0

    def take(self, rng: Generator, count: int, fresh: int) -> Sequence[Example]:
        """`count` examples, `fresh` of them new; all new while the pool is small."""
        fresh = count if len(self._held) < 4 * count else min(fresh, count)
        old = [self._held[int(place)] for place in rng.integers(max(len(self._held), 1), size=count - fresh)]
        new = [self._maker.draw(rng, self._num_latents) for _ in range(fresh)]
        for one in new:
            if len(self._held) < self._capacity:
                self._held.append(one)
            else:
                self._held[self._next % self._capacity] = one
                self._next += 1
        return [*old, *new]


def stacked(arrays: Sequence[NDArray[np.float32]]) -> Tensor:
    """Arrays of one shape as one float32 tensor with a batch dimension in front."""
    return torch.from_numpy(np.stack(arrays))
