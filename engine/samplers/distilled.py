"""The sampler of step-distilled weights (model specification 3.2)."""

from __future__ import annotations

from torch import Tensor

from engine.samplers.base import Draw, Solver, SolverState, sigma_grid
from hhray.served_model import DISTILLED_STEPS


class DistilledSampler:
    """Predict the clean latent, then noise it afresh to the next level; without guidance.

    Noise is drawn in the last step too, times zero: whoever draws next from the same generator depends on it.
    """

    def __init__(self, num_steps: int = DISTILLED_STEPS) -> None:
        self.sigmas = sigma_grid(num_steps)

    @property
    def num_steps(self) -> int:
        return len(self.sigmas) - 1

    def guidance(self, index: int) -> None:  # noqa: ARG002 - the same in every step
        return None

    def solver(self) -> Solver:
        return self

    def remembered(self) -> SolverState:
        return SolverState()

    def resume(self, state: SolverState) -> None:
        """Nothing is remembered: a step depends on its own latent only."""

    def step(self, index: int, latent: Tensor, velocity: Tensor, draw: Draw) -> Tensor:
        clean = latent - self.sigmas[index] * velocity
        level = self.sigmas[index + 1]
        return level * draw(tuple(latent.shape)) + (1 - level) * clean
