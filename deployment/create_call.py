"""A create in no dialect: what parsers make and `deployment.creation` turns into a task."""

from __future__ import annotations

from dataclasses import dataclass

from hhray.request import ClipRequest


@dataclass(frozen=True, slots=True)
class CreateCall:
    """A create as it was asked for. `files` holds, for each of the request's media, the bytes that came along, None for
    one that is to be fetched. `deadline_seconds` is when the client wants the clip, 0 if it does not say. `webhook` is
    the checked URL that is to be told of the task's end; empty: the tenant's, if it has one.
    """

    request: ClipRequest
    files: tuple[bytes | None, ...] = ()
    deadline_seconds: float = 0.0
    idempotency_key: str | None = None
    webhook: str = ""
