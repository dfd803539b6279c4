"""What a sampler is: a schedule of noise levels, guidance scales, and solvers of single latents.

A latent at noise level sigma is x = (1 - sigma) x0 + sigma eps; the network predicts v = eps - x0. All in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

SHIFT = 5.0
FIRST_LEVEL = 0.999

# A shape -> float32 standard normal noise of it.
Draw = Callable[[tuple[int, ...]], Tensor]


@dataclass(frozen=True, slots=True)
class SolverState:
    """What a solver remembers between two steps: the order of the last one, and tensors of the latent's shape."""

    order: int = 0
    tensors: tuple[Tensor, ...] = ()


class Solver(Protocol):
    """Takes one latent through all steps in order; may remember what earlier steps gave."""

    def remembered(self) -> SolverState:
        """What another solver of this sampler needs to go on."""

    def resume(self, state: SolverState) -> None:
        """Go on from what another one remembered."""

    def step(self, index: int, latent: Tensor, velocity: Tensor, draw: Draw) -> Tensor:
        """The latent after step `index`; `draw` gives fresh noise to those who need it."""


class Sampler(Protocol):
    """The recipe of a whole clip; it holds no state of one. `sigmas` has the noise level before each step, and 0."""

    sigmas: tuple[float, ...]

    @property
    def num_steps(self) -> int:
        """Steps of a clip."""

    def guidance(self, index: int) -> tuple[float, float] | None:
        """Guidance scales of video and audio in step `index`; None throughout: no step asks for the negative text."""

    def solver(self) -> Solver:
        """A solver for one latent: video and audio of each clip have their own."""


def sigma_grid(num_steps: int) -> tuple[float, ...]:
    """Noise levels before each step, and 0 after the last: the published grid with shift 5."""
    levels = [FIRST_LEVEL * (1 - index / num_steps) for index in range(num_steps)]
    return (*(SHIFT * level / (1 + (SHIFT - 1) * level) for level in levels), 0.0)


def timesteps(sigmas: tuple[float, ...]) -> tuple[int, ...]:
    """The whole-numbered time of each step, 1000 sigma rounded down: guidance changes with it, the network never."""
    return tuple(math.floor(1000 * sigma) for sigma in sigmas[:-1])
