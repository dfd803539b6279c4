"""Which shapes have run in this process: the first clip of a shape waits for kernels, choices and memory."""

from __future__ import annotations

import logging

from hhray.geometry import LatentGrid
from hhray.memory_parts import Stage
from hhray.served_model import Pass

logger = logging.getLogger(__name__)


class WarmShapes:
    """Stage and latent grid of every pass that has been run. `cold` counts those that a clip was the first to meet.

    Lengths of prompts and numbers of clips in a batch are not part of a shape: kernels take any.
    """

    def __init__(self) -> None:
        self._known: set[tuple[Stage, LatentGrid]] = set()
        self.cold = 0

    def warm(self, one: Pass) -> None:
        """A pass was run ahead of all clips."""
        self._known.add((one.stage, one.grid))

    def begin(self, one: Pass) -> None:
        """A clip begins a pass."""
        if (one.stage, one.grid) not in self._known:
            self.cold += 1
            logger.info("the first clip of its shape: %s at %s; the setting engine.warm_up avoids it", *_named(one))
        self.warm(one)


def _named(one: Pass) -> tuple[str, str]:
    grid = one.grid
    return one.stage.value, f"{grid.frames} x {grid.height} x {grid.width} latent pixels"
