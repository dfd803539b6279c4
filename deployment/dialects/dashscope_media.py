"""The picture of an image-to-video request as the DashScope dialect sends it: a URL or a data URI."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from deployment.addresses import parse_media_url
from hhray.errors import InvalidParameter, InvalidURL, MediaError
from hhray.request import Media, MediaType
from hhray.settings import MediaSettings

MAX_DATA_URI_BYTES = 28_000_000
OLDER_FIELDS = ("img_url", "first_frame_url")  # what the official command line sends
PICTURE_TYPES = ("jpeg", "jpg", "png", "webp")
_DATA_URI = re.compile(r"data:image/([A-Za-z0-9.+-]{1,40});base64,")
# In the raw body, before it is parsed: what a picture inside the request weighs.
_DATA_URI_IN_JSON = re.compile(rb'"data:image/[A-Za-z0-9.+-]{1,40};base64,[^"]*"')
_EXPECTED = 'expected exactly one item {"type": "first_frame", "url": "<http(s) URL or data URI of a picture>"}'


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """The picture a clip starts from: to be fetched (`media.url`), or its bytes (`data`), which came along."""

    media: Media
    data: bytes | None = None


def data_uri_bytes(body: bytes) -> int:
    """Bytes of a raw request body that are pictures inside it."""
    return sum(match.end() - match.start() for match in _DATA_URI_IN_JSON.finditer(body))


def parse_first_frame(fields: dict[str, Any], settings: MediaSettings) -> FirstFrame:
    """The picture of an image-to-video request's `input`: `media`, or an older field.

    Raises:
        InvalidParameter, InvalidURL, MediaError: the message begins with the field's path.
    """
    path, url = _locate(fields)
    if url[:5].lower() == "data:":
        return FirstFrame(Media(type=MediaType.FIRST_FRAME), _decode(path, url, settings.max_bytes))
    scheme = url.partition("://")[0].lower()
    if scheme in {"oss", "file"}:
        raise InvalidURL(
            f"{path}: {scheme}:// uploads are not offered by this server yet, expected an http(s) URL or a data URI."
        )
    try:
        parse_media_url(url, settings.allowed_private)
    except InvalidURL as error:
        raise InvalidURL(f"{path}: {error.message}.") from error
    return FirstFrame(Media(type=MediaType.FIRST_FRAME, url=url))


def _locate(fields: dict[str, Any]) -> tuple[str, str]:
    """Field path and text of the one URL."""
    media = fields.get("media")
    older = next((name for name in OLDER_FIELDS if fields.get(name) is not None), None)
    if media is None and older is not None:
        path, url = f"input.{older}", fields[older]
    else:
        if not isinstance(media, list) or len(media) != 1 or not isinstance(media[0], dict):
            raise InvalidParameter(f"input.media: {_EXPECTED}.")
        if media[0].get("type") != MediaType.FIRST_FRAME.value:
            raise InvalidParameter(f"input.media[0].type: {_EXPECTED}.")
        path, url = "input.media[0].url", media[0].get("url")
    if not isinstance(url, str) or not url:
        raise InvalidParameter(f"{path}: expected the http(s) URL or data URI of a picture.")
    return path, url


def _decode(path: str, url: str, max_bytes: int) -> bytes:
    """The bytes of a data URI; whether they are a picture is seen at the intake."""
    head = _DATA_URI.match(url)
    if head is None or head.group(1).lower() not in PICTURE_TYPES:
        menu = ", ".join(f"image/{name}" for name in PICTURE_TYPES)
        raise MediaError("UnsupportedFileFormat", f"{path}: expected data:<type>;base64,<data> with a type of {menu}.")
    if len(url) > MAX_DATA_URI_BYTES:
        raise MediaError("TooLarge", f"{path}: expected a data URI of at most {MAX_DATA_URI_BYTES} characters.")
    try:
        data = base64.b64decode(url[head.end() :].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise InvalidParameter(f"{path}: expected valid base64 after the comma of the data URI.") from error
    if not data:
        raise InvalidParameter(f"{path}: expected a picture in the data URI, but it is empty.")
    if len(data) > max_bytes:
        raise MediaError("TooLarge", f"{path}: expected a picture of at most {max_bytes} bytes, got {len(data)}.")
    return data
