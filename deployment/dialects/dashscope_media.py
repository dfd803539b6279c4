"""The media of a request as the DashScope dialect sends them: `input.media`, by URL or as data URIs."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, BinaryIO

from deployment.addresses import parse_media_url
from deployment.call_identity import UPLOAD_SCHEME
from deployment.dialects.dashscope_query import shown
from hhray.errors import InvalidParameter, InvalidURL, MediaError
from hhray.request import Media, MediaType, Mode
from hhray.store_settings import MediaSettings

MAX_DATA_URI_BYTES = 28_000_000
OLDER_FIELDS = ("img_url", "first_frame_url")  # what the official command line sends
PICTURE_TYPES = ("jpeg", "jpg", "png", "webp")
# What each mode takes: least and most of each type. The array's order numbers the references.
TAKEN: dict[Mode, dict[MediaType, tuple[int, int]]] = {
    Mode.T2V: {},
    Mode.I2V: {MediaType.FIRST_FRAME: (1, 1)},
    Mode.R2V: {MediaType.REFERENCE_IMAGE: (1, 9)},
    Mode.VIDEO_EDIT: {MediaType.VIDEO: (1, 1), MediaType.REFERENCE_IMAGE: (0, 5)},
}
_DATA_URI = re.compile(r"data:image/([A-Za-z0-9.+-]{1,40});base64,")
RESOLVE_HEADER = "X-DashScope-OssResourceResolve"
# What the server lets a client call its upload: its own folder, and a name without a way out of it.
OBJECT_KEY = re.compile(r"uploads/[0-9a-f-]{36}/[^/\x00-\x1f\x7f\ud800-\udfff]{1,200}")
# In the raw body, before it is parsed: what the files inside the request weigh. Videos are counted, then refused.
_DATA_URI_IN_JSON = re.compile(rb'"data:(?:image|video)/[A-Za-z0-9.+-]{1,40};base64,[^"]*"')


@dataclass(frozen=True, slots=True)
class GivenMedia:
    """A media file of a request: to be fetched (`media.url`), or what came along (`data`): bytes, or an open file."""

    media: Media
    data: bytes | BinaryIO | None = None


def data_uri_bytes(body: bytes | bytearray) -> int:
    """Bytes of a raw request body that are files inside it."""
    return sum(match.end() - match.start() for match in _DATA_URI_IN_JSON.finditer(body))


def parse_media(
    fields: dict[str, Any], mode: Mode, settings: MediaSettings, *, resolves_uploads: bool = False
) -> tuple[GivenMedia, ...]:
    """The media of a request's `input`, in the client's order; whatever a text-to-video request carries is ignored.

    An upload (`oss://`) keeps its URL; whether it is there is seen at the create.

    Raises:
        InvalidParameter, InvalidURL, MediaError: the message begins with the field's path.
    """
    if not TAKEN[mode]:
        return ()
    found = tuple(_read(path, kind, url, settings) for path, kind, url in _listed(fields, mode))
    if not resolves_uploads and any(item.media.url.startswith(UPLOAD_SCHEME) for item in found):
        raise InvalidURL(
            f"input.media: expected the header '{RESOLVE_HEADER}: enable' with an {UPLOAD_SCHEME} URL; it is missing."
        )
    return found


def _listed(fields: dict[str, Any], mode: Mode) -> list[tuple[str, MediaType, object]]:
    """Field path, type and address of each item, the numbers of each type checked."""
    items = fields.get("media")
    older = next((name for name in OLDER_FIELDS if fields.get(name) is not None), None)
    if items is None and older is not None and mode is Mode.I2V:
        return [(f"input.{older}", MediaType.FIRST_FRAME, fields[older])]
    if items is None:
        raise InvalidParameter(f"Field required: input.media. Expected {_expected(mode)}.")
    if not isinstance(items, list):
        raise InvalidParameter(f"input.media: expected {_expected(mode)}, got {shown(items)}.")
    if len(items) > sum(most for _, most in TAKEN[mode].values()):
        raise InvalidParameter(f"input.media: expected {_expected(mode)}, got {len(items)} items.")
    found = [(f"input.media[{index}].url", *_item(index, item, mode)) for index, item in enumerate(items)]
    counts = Counter(kind for _, kind, _ in found)
    for kind, (least, most) in TAKEN[mode].items():
        if not least <= counts[kind] <= most:
            raise InvalidParameter(f"input.media: expected {_expected(mode)}, got {counts[kind]} {kind}.")
    return found


def _item(index: int, item: object, mode: Mode) -> tuple[MediaType, object]:
    path = f"input.media[{index}]"
    if not isinstance(item, dict):
        raise InvalidParameter(f'{path}: expected an object {{"type": ..., "url": ...}}, got {shown(item)}.')
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in list(TAKEN[mode]):
        menu = " or ".join(TAKEN[mode])
        raise InvalidParameter(f"{path}.type: expected {menu} for {mode.value}, got {shown(kind)}.")
    return MediaType(kind), item.get("url")


def _expected(mode: Mode) -> str:
    numbers = [
        f"exactly {most} {kind}" if least == most else f"{least} to {most} {kind}"
        for kind, (least, most) in TAKEN[mode].items()
    ]
    first = next(iter(TAKEN[mode]))
    return f'{" and ".join(numbers)}, as in [{{"type": "{first}", "url": "https://..."}}]'


def _read(path: str, kind: MediaType, url: object, settings: MediaSettings) -> GivenMedia:
    by_url_only = kind is MediaType.VIDEO
    what = "http(s) URL of an MP4 or MOV video" if by_url_only else "http(s) URL or data URI of a picture"
    if not isinstance(url, str) or not url:
        raise InvalidParameter(f"{path}: expected the {what}, got {shown(url)}.")
    if url[:5].lower() == "data:":
        if by_url_only:
            raise InvalidURL(f"{path}: expected the {what}; a video is not taken as a data URI.")
        return GivenMedia(Media(type=kind), _decode(path, url, settings.max_bytes))
    if url.startswith(UPLOAD_SCHEME):
        if not OBJECT_KEY.fullmatch(url.removeprefix(UPLOAD_SCHEME)):
            raise InvalidURL(f"{path}: expected an {UPLOAD_SCHEME} URL of a file that was uploaded to this server.")
        return GivenMedia(Media(type=kind, url=url))
    if url[:7].lower() == "file://":
        raise InvalidURL(f"{path}: a file:// URL is the client's to upload (GET /api/v1/uploads); expected the {what}.")
    try:
        parse_media_url(url, settings.allowed_private, settings.ports)
    except InvalidURL as error:
        raise InvalidURL(f"{path}: {error.message}.") from error
    return GivenMedia(Media(type=kind, url=url))


def _decode(path: str, url: str, max_bytes: int) -> bytes:
    """The bytes of a data URI; whether they are a picture is seen at the intake."""
    head = _DATA_URI.match(url)
    if head is None or head.group(1).lower() not in PICTURE_TYPES:
        menu = ", ".join(f"image/{name}" for name in PICTURE_TYPES)
        raise MediaError("UnsupportedFileFormat", f"{path}: expected data:<type>;base64,<data> with a type of {menu}.")
    if len(url) > MAX_DATA_URI_BYTES:
        raise MediaError(
            "TooLarge", f"{path}: expected a data URI of at most {MAX_DATA_URI_BYTES} characters, got {len(url)}."
        )
    try:
        data = base64.b64decode(url[head.end() :].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise InvalidParameter(f"{path}: expected valid base64 after the comma of the data URI.") from error
    if not data:
        raise InvalidParameter(f"{path}: expected a picture in the data URI, but it is empty.")
    if len(data) > max_bytes:
        raise MediaError("TooLarge", f"{path}: expected a picture of at most {max_bytes} bytes, got {len(data)}.")
    return data
