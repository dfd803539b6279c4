"""The arguments of a Pipeline call, checked and turned into a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from PIL import Image

from engine.messages import ClipJob
from engine.picture import probe_picture
from engine.source_video import probe_video
from hhray.errors import InvalidParameter
from hhray.geometry import DURATIONS, MAX_DURATION, MIN_DURATION, Ratio, Resolution, edited_length, nearest_ratio
from hhray.prompting import bind_references, model_prompt
from hhray.request import MAX_SEED, Language, Mode

Picture = str | Path | Image.Image
Choice = TypeVar("Choice", bound=StrEnum)

MAX_REFERENCES, MAX_EDIT_REFERENCES = 9, 5


@dataclass(frozen=True, slots=True)
class Call:
    """What a clip is asked for; see Pipeline.__call__. `ratio` None: that of the picture or video, else 16:9."""

    prompt: str
    image: Picture | None
    references: tuple[Picture, ...]
    video: str | Path | None
    sound: str | Path | None
    keep_sound: bool
    duration: int
    resolution: str
    ratio: str | None
    seed: int
    language: str | None
    dialogue: str

    @property
    def mode(self) -> Mode:
        """What the clip is made from.

        Raises:
            InvalidParameter: from two things that exclude each other, or from too many references.
        """
        if self.image is not None and (self.references or self.video):
            raise InvalidParameter("image: expected a first frame, or references or a video, not both")
        most = MAX_EDIT_REFERENCES if self.video else MAX_REFERENCES
        if len(self.references) > most:
            raise InvalidParameter(f"references: expected at most {most} pictures, got {len(self.references)}")
        if self.keep_sound and not self.video:
            raise InvalidParameter("keep_sound: there is no video whose sound could be kept")
        if self.video:
            return Mode.VIDEO_EDIT
        if self.references:
            return Mode.R2V
        return Mode.I2V if self.image is not None else Mode.T2V


@contextmanager
def job_of(call: Call, max_pixels: int) -> Iterator[ClipJob]:
    """The job of a call; pictures given as objects lie in temporary files until the block ends.

    Raises:
        InvalidParameter, MediaError: an argument or a file does not fit.
    """
    _check_files(call)
    mode, resolution = call.mode, _choice("resolution", call.resolution, Resolution)
    if not 0 <= call.seed <= MAX_SEED:
        raise InvalidParameter(f"seed: expected 0 to {MAX_SEED}, got {call.seed}")
    binds = mode in (Mode.R2V, Mode.VIDEO_EDIT)
    text = bind_references(call.prompt, len(call.references)) if binds else call.prompt
    language = None if call.language is None else _choice("language", call.language, Language)
    pictures = call.references if call.image is None else (call.image,)
    with TemporaryDirectory(prefix="hhray-") as folder:
        images = tuple(_as_file(picture, Path(folder) / f"{index}.png") for index, picture in enumerate(pictures))
        duration, seconds, own_ratio = _length_and_ratio(call, images, max_pixels)
        yield ClipJob(
            task_id="",
            prompt=model_prompt(text, language, call.dialogue),
            seed=call.seed,
            resolution=resolution.value,
            ratio=(own_ratio if call.ratio is None else _choice("ratio", call.ratio, Ratio)).value,
            duration=duration,
            mode=mode.value,
            images=images,
            video_path=str(call.video or ""),
            sound_path=str(call.sound or ""),
            keep_sound=call.keep_sound,
            seconds=seconds,
        )


def _check_files(call: Call) -> None:
    named = [("image", call.image), *(("references", one) for one in call.references)]
    for name, given in [*named, ("video", call.video), ("sound", call.sound)]:
        if isinstance(given, (str, Path)) and not Path(given).is_file():
            raise InvalidParameter(f"{name}: there is no file {given}")


def _length_and_ratio(call: Call, images: tuple[str, ...], max_pixels: int) -> tuple[int, float, Ratio]:
    """Duration, seconds delivered (0: all) and the ratio of what the clip is made from."""
    if call.video:
        facts = probe_video(Path(call.video))
        return (*edited_length(facts.seconds), nearest_ratio(facts.size))
    if call.duration not in DURATIONS:
        raise InvalidParameter(f"duration: expected {MIN_DURATION} to {MAX_DURATION} seconds, got {call.duration}")
    own = nearest_ratio(probe_picture(images[0], max_pixels)) if call.image is not None else Ratio.R16_9
    return call.duration, 0.0, own


def _as_file(picture: Picture, path: Path) -> str:
    if not isinstance(picture, Image.Image):
        return str(picture)
    picture.save(path)
    return str(path)


def _choice(name: str, value: str, menu: type[Choice]) -> Choice:
    for choice in menu:
        if value.lower() == choice.value.lower():
            return choice
    raise InvalidParameter(f"{name}: expected one of {', '.join(menu)}, got {value!r}")
