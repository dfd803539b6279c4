"""A picture on the client's disk as a data URI, checked before a byte is sent."""

from __future__ import annotations

import base64
from pathlib import Path

from hhray.errors import MediaError

MAX_IMAGE_BYTES = 20_000_000  # the wire contract's limit for one picture (1.3)

_MIME_BY_SUFFIX = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


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
