"""The place of an imperceptible watermark; none ships with this project.

The operator names a class in `marking.invisible`. Each rank makes one instance, without arguments; its first rank calls
it for every delivered picture, before anything visible is drawn and before the encoder, so that the mark must survive
both. What it embeds it must be able to find again by itself: there is no detector here.
"""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from hhray.plugin import make_plugin

SETTING = "marking.invisible"


class InvisibleWatermark(Protocol):
    """Calls come from one thread at a time, in the order of the pictures."""

    def embed(self, luma: NDArray[np.uint8], payload: bytes, index: int) -> None:
        """Change the luma [H, W] of delivered picture `index` in place; `payload` is the task's id in ASCII."""


def load_invisible(spec: str) -> InvisibleWatermark | None:
    """The watermark that the setting names; None for "".

    Raises:
        ConfigError: there is no such class, or it cannot be made, or it has no `embed`.
    """
    return cast(InvisibleWatermark, make_plugin(SETTING, spec, has=("embed",))) if spec else None
