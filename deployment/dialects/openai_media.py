"""OpenAI dialect: the pictures and the video of a request, as files, addresses or data URIs. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from deployment.dialects.dashscope_media import GivenMedia, parse_media
from deployment.dialects.dashscope_query import shown
from deployment.dialects.openai_fields import Fields, Upload
from hhray.errors import InvalidParameter, MediaError
from hhray.request import MediaType, Mode
from hhray.store_settings import MediaSettings

# Where clients put pictures and videos, in the order in which they are numbered.
PICTURE_FIELDS = ("input_reference", "input_references", "reference_url", "image_url", "image_urls", "image")
VIDEO_FIELDS = ("video", "video_url")
MEDIA_FIELDS = (*PICTURE_FIELDS, *VIDEO_FIELDS, "media")
# Stands for a file that came along while the other dialect's rules check the list; nobody ever fetches it.
_PLACE = "https://upload.invalid/{}"


@dataclass(frozen=True, slots=True)
class Given:
    """One file of a request: its role, None for a picture whose role the mode decides, and where it is."""

    kind: MediaType | None
    source: Upload | str


def given_media(fields: Fields) -> list[Given]:
    """All files a request names, wherever it names them.

    Raises:
        InvalidParameter: something that is neither a file nor an address.
    """
    found = [Given(None, source) for name in PICTURE_FIELDS for source in _sources(name, fields.get(name))]
    found += [Given(MediaType.VIDEO, source) for name in VIDEO_FIELDS for source in _sources(name, fields.get(name))]
    items = fields.get("media")
    for item in items if isinstance(items, list) else [] if items is None else [items]:
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(kind, str) or kind not in list(MediaType):
            raise InvalidParameter(f"media: expected objects with a type of {', '.join(MediaType)}.")
        found += [Given(MediaType(kind), source) for source in _sources("media", item.get("url"))]
    return found


def meant_mode(found: Sequence[Given]) -> Mode:
    """What the files are for when no model is named: a video is edited, one picture begins the clip, several are
    references."""
    if any(item.kind is MediaType.VIDEO for item in found):
        return Mode.VIDEO_EDIT
    if len(found) > 1 or any(item.kind is MediaType.REFERENCE_IMAGE for item in found):
        return Mode.R2V
    return Mode.I2V if found else Mode.T2V


def checked_media(found: Sequence[Given], mode: Mode, settings: MediaSettings) -> tuple[GivenMedia, ...]:
    """The files in their roles, counted and measured by the same rules as in the other dialect.

    Raises:
        InvalidParameter, InvalidURL, MediaError: a file is missing, too many, too large, or cannot be fetched.
    """
    picture = MediaType.FIRST_FRAME if mode is Mode.I2V else MediaType.REFERENCE_IMAGE
    listed = [
        {
            "type": (item.kind or picture).value,
            "url": item.source if isinstance(item.source, str) else _PLACE.format(index),
        }
        for index, item in enumerate(found)
    ]
    checked = parse_media({"media": listed} if listed else {}, mode, settings)
    uploads = [item.source if isinstance(item.source, Upload) else None for item in found][: len(checked)]
    return tuple(
        given if upload is None else _with_upload(given, upload, settings)
        for given, upload in zip(checked, uploads, strict=True)
    )


def _with_upload(given: GivenMedia, upload: Upload, settings: MediaSettings) -> GivenMedia:
    video = given.media.type is MediaType.VIDEO
    most = settings.max_video_bytes if video else settings.max_bytes
    name = "video" if video else "input_reference"
    if upload.num_bytes > most:
        raise MediaError("TooLarge", f"{name}: expected a file of at most {most} bytes, got {upload.num_bytes}.")
    if not upload.num_bytes:
        raise InvalidParameter(f"{name}: expected a file, but it is empty.")
    return replace(given, media=given.media.model_copy(update={"url": ""}), data=upload.file)


def _sources(name: str, value: object) -> Iterator[Upload | str]:
    """Files and addresses in a field: one, a list of them, or {"image_url": ...} as the SDK's types have it."""
    if value is None or value == "":
        return
    if isinstance(value, Upload | str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _sources(name, item)
    elif isinstance(value, dict) and value.get("file_id") is not None:
        raise InvalidParameter(f"{name}: this server keeps no files by id; send the file itself or its URL.")
    elif isinstance(value, dict) and (inner := value.get("image_url") or value.get("url")) is not None:
        yield from _sources(name, inner)
    else:
        raise InvalidParameter(f'{name}: expected a file, a URL, or {{"image_url": ...}}, got {shown(value)}.')
