"""What a client asks for, free of any dialect: the value that travels from ingress to store to engine."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from hhray.geometry import MAX_DURATION, MIN_DURATION, ClipGeometry, Ratio, Resolution
from hhray.marking import UNMARKED, Marking

MAX_SEED = 2**31 - 1
# What a server of ours reads of the pictures inside one request (data URIs), all together. More is sent by URL.
MAX_INLINE_BYTES = 64_000_000


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


class AudioSetting(StrEnum):
    """Sound of an edited video: made anew, or that of the source."""

    AUTO = "auto"
    ORIGIN = "origin"


class Language(StrEnum):
    """Languages the model speaks in step with lips (model specification 7)."""

    ENGLISH = "English"
    MANDARIN = "Mandarin"
    CANTONESE = "Cantonese"
    JAPANESE = "Japanese"
    KOREAN = "Korean"
    GERMAN = "German"
    FRENCH = "French"


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

    `ratio` of a request with a first frame or a source video is 16:9 until that has been fetched; then it is the
    nearest of the menu. `source_seconds` is the length of a source video, 0 until it has been fetched; `duration` is
    then the whole seconds of the clip that holds it, at most 15. `prompt` is what the client wrote; what the model
    reads is made of it by hhray.prompting. A `deterministic` clip runs alone, on the ranks and in the layout it began
    in: the same request gives the same latents, bit by bit, on the same machines. `workspace` is the client's name for
    what the task belongs to: it is written down and decides nothing. `watermark` is what the client asked; `marking` is
    what was decided of it. `remix_of` is the task whose settings this one repeats with another prompt.
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
    language: Language | None = None
    dialogue: str = ""
    audio_setting: AudioSetting = AudioSetting.AUTO
    strict_capabilities: bool = False
    deterministic: bool = False
    source_seconds: float = 0.0
    workspace: str = ""
    marking: Marking = UNMARKED
    remix_of: str = ""

    @property
    def output_seconds(self) -> float:
        """Seconds of the delivered clip: `duration`, or those of the video that is edited, the first 15 of them."""
        if self.mode is Mode.VIDEO_EDIT and self.source_seconds:
            return min(self.source_seconds, float(self.duration))
        return float(self.duration)

    @property
    def geometry(self) -> ClipGeometry:
        return ClipGeometry(self.resolution, self.ratio, self.duration)

    @property
    def shape_key(self) -> ShapeKey:
        return ShapeKey(self.mode, self.resolution, self.ratio, self.duration)


def tier_key(resolution: Resolution, duration: int) -> str:
    """What decides the memory of a clip, as one word."""
    return f"{resolution.value}/{duration}"


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
