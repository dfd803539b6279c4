"""Where a scene is drawn: the picture's size, and the part of it that is delivered."""

from __future__ import annotations

from dataclasses import dataclass

from hhray.geometry import PIXELS, Ratio, Size
from hhray.model_size import EMBEDDED_SHARE


@dataclass(frozen=True, slots=True)
class Canvas:
    """The part of a picture of `size` pixels that is delivered: the largest centred one of the aspect asked for."""

    size: Size
    aspect: float

    @property
    def height(self) -> float:
        """Of the part, in pixels: the unit in which the made world measures."""
        return min(float(self.size.height), self.size.width / self.aspect)

    @property
    def corner(self) -> tuple[float, float]:
        """Its left upper corner, x and y in pixels."""
        return (self.size.width - self.height * self.aspect) / 2, (self.size.height - self.height) / 2


def native(ratio: Ratio) -> Canvas:
    """What clips of a ratio are drawn on: 5/14 of the 256P base, rounded up to whole tokens.

    16:9 is 160 x 96 pixels, the middle 91 rows of which are delivered; three seconds are 20 x 3 x 5 = 300 video tokens.
    """
    base = PIXELS[ratio][0]
    return Canvas(base.share(EMBEDDED_SHARE), base.aspect)


NATIVE = native(Ratio.R16_9)
