"""What a client asks for, free of any dialect: the value that travels from ingress to store to engine."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from hhray.geometry import MAX_DURATION, MIN_DURATION, ClipGeometry, Ratio, Resolution

MAX_SEED = 2**31 - 1


class Mode(StrEnum):
    """What a clip is made from."""

    T2V = "t2v"
    I2V = "i2v"
    R2V = "r2v"
    VIDEO_EDIT = "video-edit"


class MediaType(StrEnum):
    """Role of a media file in a request."""

    FIRST_FRAME = "first_frame"
    REFERENCE_IMAGE = "reference_image"
    VIDEO = "video"


class Media(BaseModel):
    """One media file.

    `url` is what the client gave (http or https), empty when the bytes came with the request (a data URI);
    `key` is where the bytes lie in the artifact store, empty until they are there.
    """

    model_config = ConfigDict(frozen=True)

    type: MediaType
    url: str = ""
    key: str = ""


class ClipRequest(BaseModel):
    """One clip, fully resolved: every default filled in, the seed drawn, so that another attempt repeats it.

    `ratio` of an image-to-video request is 16:9 until its picture has been fetched; then it is the nearest of the menu.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    mode: Mode
    prompt: str
    resolution: Resolution = Resolution.P1080
    ratio: Ratio = Ratio.R16_9
    duration: int = Field(default=5, ge=MIN_DURATION, le=MAX_DURATION)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    watermark: bool = True
    media: tuple[Media, ...] = ()

    @property
    def geometry(self) -> ClipGeometry:
        return ClipGeometry(self.resolution, self.ratio, self.duration)

    @property
    def shape_key(self) -> ShapeKey:
        return ShapeKey(self.mode, self.resolution, self.ratio, self.duration)


class ShapeKey(NamedTuple):
    """The bucket a request falls into: only requests with equal keys run in one batch."""

    mode: Mode
    resolution: Resolution
    ratio: Ratio
    duration: int

    def __str__(self) -> str:
        return f"{self.mode.value}/{self.resolution.value}/{self.ratio.value}/{self.duration}"

    @classmethod
    def parse(cls, text: str) -> ShapeKey:
        """Inverse of `str`."""
        mode, resolution, ratio, duration = text.split("/")
        return cls(Mode(mode), Resolution(resolution), Ratio(ratio), int(duration))

    @property
    def geometry(self) -> ClipGeometry:
        return ClipGeometry(self.resolution, self.ratio, self.duration)
