"""All that a rank leaves of marks in one clip: on its pictures, and in the file's metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane

from engine.delivery import Delivery
from engine.marking.aigc import AIGC, aigc_field
from engine.marking.invisible import InvisibleWatermark
from engine.marking.stamp import Plane, Stamp, stamp
from hhray.errors import ConfigError
from hhray.marking import Marking


@dataclass(frozen=True, slots=True, eq=False)
class ClipMarks:
    """Of one clip; without arguments none. `names` are those of `Marking.written`."""

    names: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    watermark: Stamp | None = None
    label: Stamp | None = None
    num_labelled: int = 0
    invisible: InvisibleWatermark | None = None
    payload: bytes = b""

    @property
    def draws(self) -> bool:
        """Whether pictures are changed; they must then be the caller's to change."""
        return self.watermark is not None or self.label is not None or self.invisible is not None

    def drawn_on(self, pictures: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """yuv420p pictures of the delivered size, from the first on, marked in place where there are marks."""
        for index, picture in enumerate(pictures):
            if self.draws:
                self._draw(picture, index)
            yield picture

    def _draw(self, picture: VideoFrame, index: int) -> None:
        luma, blue, red = planes = _planes(picture)
        if self.invisible is not None:
            self.invisible.embed(luma, self.payload, index)
        if self.watermark is not None:
            self.watermark.put_on(planes)
        if self.label is not None and index < self.num_labelled:
            self.label.put_on((luma, blue, red))


UNMARKED_CLIP = ClipMarks()


def marks_of(
    marking: Marking, task_id: str, delivery: Delivery, font: str, invisible: InvisibleWatermark | None
) -> ClipMarks:
    """The marks of a clip that is delivered so.

    Raises:
        ConfigError: an imperceptible watermark is asked for where none is set, or a text cannot be drawn.
    """
    if marking.invisible and invisible is None:
        raise ConfigError("the clip is to have an imperceptible watermark and marking.invisible names none")
    size, rate = delivery.size, delivery.frames_per_second
    return ClipMarks(
        names=marking.written,
        tags={AIGC: aigc_field(marking.producer, task_id)} if marking.producer else {},
        watermark=stamp(marking.watermark, size, "bottom right", font) if marking.watermark else None,
        label=stamp(marking.label, size, "top left", font) if marking.label else None,
        num_labelled=-int(-marking.label_seconds * rate // 1),
        invisible=invisible if marking.invisible else None,
        payload=task_id.encode(),
    )


def _planes(picture: VideoFrame) -> tuple[Plane, Plane, Plane]:
    """The memory of a yuv420p picture: Y, U, V, without the padding of their rows."""
    luma, blue, red = (_pixels(plane) for plane in picture.planes)
    return luma, blue, red


def _pixels(plane: VideoPlane) -> Plane:
    memory = cast(bytearray, plane)  # it has the buffer protocol, which the library's types do not say
    rows: Plane = np.frombuffer(memory, np.uint8)[: plane.height * plane.line_size]
    return rows.reshape(plane.height, plane.line_size)[:, : plane.width]
