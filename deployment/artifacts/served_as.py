"""What a file is served as: media type and name by its key, never by what a client said of it."""

from __future__ import annotations

from deployment.artifacts.keys import check_key, kind_of

_TYPES = {".mp4": "video/mp4", ".webp": "image/webp", ".jpg": "image/jpeg", ".png": "image/png"}


def media_type(key: str) -> str:
    """Media type; that of inputs and uploads says nothing, for nobody should look at them in a browser."""
    _, dot, suffix = check_key(key).rpartition("/")[2].rpartition(".")
    trusted = kind_of(key) in ("clips", "previews")
    return _TYPES.get(dot + suffix, "application/octet-stream") if trusted else "application/octet-stream"


def file_name(key: str) -> str:
    """Name that a download is saved under."""
    kind, *_, task_id, name = check_key(key).split("/")
    return f"{kind}-{task_id}.mp4" if kind == "clips" else f"{kind}-{task_id}-{name}"


def disposition(key: str) -> str:
    """Content-Disposition of a download (RFC 6266); a key has no character that would need quoting."""
    return f'attachment; filename="{file_name(key)}"'
