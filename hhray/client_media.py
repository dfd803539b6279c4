"""The media of a request as the client sends them, checked before a byte is sent.

Pictures go by URL, or from the disk as data URIs; a video goes by URL, or from the disk as an upload ahead of the
create.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hhray.errors import InvalidParameter, InvalidURL, MediaError
from hhray.request import MAX_INLINE_BYTES, MediaType

MAX_IMAGE_BYTES = 20_000_000  # the wire contract's limit for one picture (1.3)
MAX_VIDEO_BYTES = 100_000_000  # and for a video
OSS_SCHEME = "oss://"  # addresses of uploads

_MIME_BY_SUFFIX = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
_MIME_OF_VIDEO = {".mp4": "video/mp4", ".mov": "video/quicktime"}
_FIRST_BOXES = (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip")  # ISO/IEC 14496-12, and QuickTime before it


def default_model(
    image: Path | str | None = None, references: Sequence[Path | str] = (), video: Path | str = ""
) -> str:
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
    return text if is_url(text) else image_data_uri(Path(text))


def is_url(text: str) -> bool:
    """Whether a medium is given by its address: http(s), or an upload's."""
    return text.lower().startswith(("http://", "https://", OSS_SCHEME))


def local_video(video: Path | str) -> str:
    """The content type of a video file that can be uploaded.

    Raises:
        InvalidURL: it is an address that no server takes.
        MediaError: it cannot be read, is too large, or is no MP4 or MOV by its name and first bytes.
    """
    if isinstance(video, str) and (video[:5].lower() == "data:" or "://" in video):
        raise InvalidURL(f"expected a file, or the http(s) URL of the video, got {video[:100]!r}")
    path = Path(video)
    mime = _MIME_OF_VIDEO.get(path.suffix.lower())
    if mime is None:
        raise MediaError("UnsupportedFileFormat", f"{path}: expected an .mp4 or .mov file")
    try:
        with path.open("rb") as file:
            head, size = file.read(12), path.stat().st_size
    except OSError as error:
        raise MediaError("InputDownloadFailed", f"cannot read the video {path}: {error.strerror}") from error
    if size > MAX_VIDEO_BYTES:
        raise MediaError("TooLarge", f"{path}: larger than {MAX_VIDEO_BYTES:,} bytes; send a smaller video")
    if head[4:8] not in _FIRST_BOXES:
        raise MediaError("UnsupportedFileFormat", f"{path}: its name says {mime}, its first bytes do not")
    return mime


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
