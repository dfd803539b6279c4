"""Scenes as the transformer sees them: video and audio latents, and text features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """`video` float32 [48, T, h, w], `audio` float32 [A, 64] and `text` float32 [4, 64]."""

    scene: Scene
    video: NDArray[np.float32]
    audio: NDArray[np.float32]
    text: NDArray[np.float32]


def audio_latents(num_latents: int) -> int:
    """Audio latents beside `num_latents` video latents."""
    return TEMPORAL_STRIDE * (num_latents - 1) + 1


class ExampleMaker:
    """Makes examples of scenes on a canvas.

    `wide`: which begin anywhere, not only as those that are asked for; `faces`: some of which are faces.
    """

    def __init__(self, canvas: Canvas = NATIVE, *, wide: bool = False, faces: bool = True) -> None:
        self.canvas, self._wide, self._faces = canvas, wide, faces
        self._sound = SpriteSoundCodec()

    def make(self, scene: Scene, num_latents: int) -> Example:
        """The example of a scene."""
        samples = sound(scene, SAMPLES_PER_LATENT * audio_latents(num_latents), self.canvas.aspect)
        audio = self._sound.encode(torch.from_numpy(samples), SOUND_RATE, torch.Generator()).T.contiguous().numpy()
        return Example(scene, fields(scene, num_latents, self.canvas), audio, meaning(Wish(scene)))

    def draw(self, rng: Generator, num_latents: int) -> Example:
        """The example of a scene for training."""
        scene = sample(rng, wide=self._wide)
        while scene.face and not self._faces:
            scene = sample(rng, wide=self._wide)
        return self.make(scene, num_latents)


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
