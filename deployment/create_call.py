"""A create in no dialect: what parsers make and `deployment.creation` turns into a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from hhray.request import ClipRequest


@dataclass(frozen=True, slots=True)
class CreateCall:
    """A create as it was asked for. `files` holds, for each of the request's media, what came along - bytes, or an open
    file - and None for one that is to be fetched. `deadline_seconds` is when the client wants the clip, 0 if it does
    not say. `fingerprint` tells creates of one idempotency key apart.
    """

    request: ClipRequest
    files: tuple[bytes | BinaryIO | None, ...] = ()
    deadline_seconds: float = 0.0
    idempotency_key: str | None = None
    fingerprint: str = ""
