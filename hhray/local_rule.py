"""Which layers of a pass see near frames only (model specification 3.4): a rule of the forward pass, not of weights."""

from __future__ import annotations

from dataclasses import dataclass

from hhray.memory_parts import Stage

LOCAL_WINDOW = 11


@dataclass(frozen=True, slots=True)
class LocalRule:
    """In `layers`, video tokens see `window` latent frames to either side.

    Raises:
        ValueError: a negative window.
    """

    window: int
    layers: frozenset[int]

    def __post_init__(self) -> None:
        if self.window < 0:
            raise ValueError(f"a window of {self.window} latent frames; it must be 0 or more")


def local_rule(stage: Stage, num_layers: int) -> LocalRule | None:
    """Which layers see near frames only: at 1080p all but every fourth, from 3 to 8 before the end; None elsewhere."""
    if stage is not Stage.SR_1080P:
        return None
    return LocalRule(LOCAL_WINDOW, frozenset(range(num_layers)) - frozenset(range(3, num_layers - 8, 4)))
