"""UniPC of order 2 with the B(h) = expm1(h) variant, in clean-latent form with corrector (model specification 3.3).

Names of the formulas: lambda(s) = ln((1 - s) / s), x the latent, m the clean latent predicted from it. Coefficients are
Python floats (float64), latents float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from engine.samplers.base import Draw, Solver, SolverState, sigma_grid, timesteps

ORDER = 2


@dataclass(frozen=True, slots=True)
class Guidance:
    """Scales of the published base weights: video `early` while the time is above `until`, then `late`."""

    early: float = 5.0
    late: float = 2.0
    until: int = 500
    audio: float = 5.0


class UniPCSampler:
    """A deterministic multi-step sampler: 32 steps with guidance for base weights, 5 without for super-resolution."""

    def __init__(self, num_steps: int, guidance: Guidance | None = None) -> None:
        self.sigmas = sigma_grid(num_steps)
        self._times = timesteps(self.sigmas)
        self._guidance = guidance

    @property
    def num_steps(self) -> int:
        return len(self._times)

    def guidance(self, index: int) -> tuple[float, float] | None:
        scales = self._guidance
        if scales is None:
            return None
        return (scales.early if self._times[index] > scales.until else scales.late), scales.audio

    def solver(self) -> Solver:
        return UniPCSolver(self.sigmas)


class UniPCSolver:
    """The steps of one latent. Each corrects the latent by the newest prediction, then predicts the next one."""

    def __init__(self, sigmas: tuple[float, ...]) -> None:
        self._sigmas = sigmas
        self._latent: Tensor | None = None  # the last step's, corrected
        self._cleans: list[Tensor] = []  # predictions of the last two steps, newest first
        self._order = 1  # of the last step

    def remembered(self) -> SolverState:
        return SolverState(self._order, () if self._latent is None else (self._latent, *self._cleans))

    def resume(self, state: SolverState) -> None:
        self._order = state.order
        self._latent = state.tensors[0] if state.tensors else None
        self._cleans = list(state.tensors[1:])

    def step(self, index: int, latent: Tensor, velocity: Tensor, draw: Draw) -> Tensor:  # noqa: ARG002 - no noise
        clean = latent - self._sigmas[index] * velocity
        if self._latent is not None:
            latent = self._corrected(index, self._latent, clean)
        # a lower order while there is no history, and for the last step
        self._order = min(ORDER, len(self._sigmas) - 1 - index, len(self._cleans) + 1)
        following = self._predicted(index, latent, clean)
        self._latent, self._cleans = latent, [clean, *self._cleans[:1]]
        return following

    def _corrected(self, index: int, before: Tensor, clean: Tensor) -> Tensor:
        """The latent of this step, computed again from the last step's with this step's prediction."""
        h, e = self._interval(index - 1, index)
        sigma, last = self._sigmas[index], self._sigmas[index - 1]
        change = clean - self._cleans[0]
        if self._order == 1:
            correction = 0.5 * change
        else:
            r = self._ratio(index - 2, index - 1, h)
            p1 = -e / h - 1
            p2 = -p1 / h - 0.5
            b1, b2 = p1 / e, 2 * p2 / e
            older = (b2 - b1) / (r - 1)
            correction = (older / r) * (self._cleans[1] - self._cleans[0]) + (b1 - older) * change
        return (sigma / last) * before - ((1 - sigma) * e) * (self._cleans[0] + correction)

    def _predicted(self, index: int, latent: Tensor, clean: Tensor) -> Tensor:
        h, e = self._interval(index, index + 1)
        sigma, following = self._sigmas[index], self._sigmas[index + 1]
        target = clean
        if self._order == ORDER:
            target = clean + (0.5 / self._ratio(index - 1, index, h)) * (self._cleans[0] - clean)
        return (following / sigma) * latent - ((1 - following) * e) * target

    def _interval(self, begin: int, end: int) -> tuple[float, float]:
        """h, the way in lambda from one step to the next, and expm1(-h)."""
        h = self._lambda(end) - self._lambda(begin)
        return h, math.expm1(-h)

    def _ratio(self, before: int, begin: int, h: float) -> float:
        return (self._lambda(before) - self._lambda(begin)) / h

    def _lambda(self, index: int) -> float:
        sigma = self._sigmas[index]
        return math.log((1 - sigma) / sigma) if sigma else math.inf
