"""The media of a request as the client sends them, checked before a byte is sent.

Pictures go by URL, or from the disk as data URIs; a video goes by URL only.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hhray.errors import InvalidParameter, InvalidURL, MediaError
from hhray.request import MAX_INLINE_BYTES, MediaType

MAX_IMAGE_BYTES = 20_000_000  # the wire contract's limit for one picture (1.3)

_MIME_BY_SUFFIX = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def default_model(image: Path | str | None = None, references: Sequence[Path | str] = (), video: str = "") -> str:
    """The model a request means that names none: what its media are for; text-to-video without any."""
    if video:
        return "happyhorse-1.0-video-edit"
    if references:
        return "happyhorse-1.0-r2v"
    return "happyhorse-1.0-t2v" if image is None else "happyhorse-1.0-i2v"


def request_media(image: Path | str | None, references: Sequence[Path | str], video: str) -> list[dict[str, Any]]:
    """`input.media` of a create: the first frame, or the video and the references in their order.

    Raises:
        InvalidParameter: a first frame is given together with references or a video; no model takes both.
        InvalidURL: the video is not given by URL.
        MediaError: a picture cannot be used, or all of them together are too large for one request.
    """
    if image is not None and (references or video):
        raise InvalidParameter("give either a first frame, or references and a video; no model takes both")
    if video and not _is_url(video):
        raise InvalidURL(
            f"expected the http(s) URL of the video, got {video[:100]!r}; a server takes videos by URL only"
        )
    media = [] if image is None else [{"type": MediaType.FIRST_FRAME.value, "url": picture_url(image)}]
    media += [{"type": MediaType.VIDEO.value, "url": video}] if video else []
    media += [{"type": MediaType.REFERENCE_IMAGE.value, "url": picture_url(picture)} for picture in references]
    if sum(len(item["url"]) for item in media) > MAX_INLINE_BYTES:
        raise MediaError(
            "TooLarge",
            f"the pictures are larger than {MAX_INLINE_BYTES:,} bytes together, as they are sent; "
            "send smaller pictures, or some by URL",
        )
    return media


def picture_url(picture: Path | str) -> str:
    """A picture's http(s) URL as it is; a file as a data URI.

    Raises:
        MediaError: as in `image_data_uri`.
    """
    text = str(picture)
    return text if _is_url(text) else image_data_uri(Path(text))


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def image_data_uri(path: Path) -> str:
    """The file as `data:image/...;base64,...`.

    Raises:
        MediaError: it cannot be read, is too large, or is no JPEG, PNG or WebP by its name and first bytes.
    """
    mime = _MIME_BY_SUFFIX.get(path.suffix.lower())
    if mime is None:
        raise MediaError("UnsupportedFileFormat", f"{path}: expected a .jpg, .jpeg, .png or .webp file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise MediaError("InputDownloadFailed", f"cannot read the picture {path}: {error.strerror}") from error
    if len(data) > MAX_IMAGE_BYTES:
        raise MediaError("TooLarge", f"{path}: larger than {MAX_IMAGE_BYTES:,} bytes; send a smaller picture")
    found = _mime_by_content(data)
    if found != mime:
        raise MediaError(
            "UnsupportedFileFormat", f"{path}: its name says {mime}, its first bytes say {found or 'no picture'}"
        )
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def _mime_by_content(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None
