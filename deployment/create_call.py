"""A create in no dialect: what parsers make and `deployment.creation` turns into a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from deployment.store.upload_verbs import Upload
from hhray.request import ClipRequest


@dataclass(frozen=True, slots=True)
class CreateCall:
    """A create as it was asked for. `files` holds, for each of the request's media, what came along - bytes, or an open
    file - and None for one that is to be fetched or lies among the uploads (its URL begins with `oss://`).
    `deadline_seconds` is when the client wants the clip, 0 if it does not say. `seed_drawn`: the seed is the parser's,
    the client named none. `webhook` is the checked URL that is to be told of the task's end; empty: the tenant's, if it
    has one.

    `uploads`, one for each of the media, and `fingerprint` are found out by deployment.call_identity.
    """

    request: ClipRequest
    files: tuple[bytes | BinaryIO | None, ...] = ()
    deadline_seconds: float = 0.0
    idempotency_key: str | None = None
    seed_drawn: bool = False
    uploads: tuple[Upload | None, ...] = ()
    fingerprint: str = ""
    webhook: str = ""
