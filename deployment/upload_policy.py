"""The permission to upload one file: short-lived, of one tenant, for one model, up to a size; signed by the server.

An upload is a form that carries no API key, as clients of the hosted API send it: the policy in it says whose it is.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from collections.abc import Callable
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from hhray.errors import AccessDenied

PURPOSE = "upload-policy"
MAX_POLICY_CHARS = 2000

Sign = Callable[[str, str], str]


class UploadPolicy(BaseModel):
    """What may be uploaded. `folder` is the head of the file's name, `expires_at` in seconds since the epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: str
    model: str
    folder: str
    max_bytes: int
    expires_at: int

    @classmethod
    def fresh(cls, tenant: str, model: str, max_bytes: int, expires_at: float) -> Self:
        """A policy with a folder of its own."""
        folder = f"uploads/{uuid.uuid4()}"
        return cls(tenant=tenant, model=model, folder=folder, max_bytes=max_bytes, expires_at=int(expires_at))

    def signed(self, sign: Sign) -> tuple[str, str]:
        """Text and signature, as a form carries them."""
        text = base64.b64encode(self.model_dump_json().encode()).decode("ascii")
        return text, sign(PURPOSE, text)

    @classmethod
    def checked(cls, text: str, signature: str, sign: Sign, now: float) -> Self:
        """The policy of a form.

        Raises:
            AccessDenied: it was not signed here, was altered, or has expired.
        """
        refused = AccessDenied("Access denied. Expected an unaltered upload policy of GET /api/v1/uploads, in time.")
        right = sign(PURPOSE, text[:MAX_POLICY_CHARS]).encode()
        if len(text) > MAX_POLICY_CHARS or not hmac.compare_digest(right, signature.encode("utf-8", "replace")):
            raise refused
        try:
            policy = cls.model_validate_json(base64.b64decode(text, validate=True))
        except (binascii.Error, ValidationError) as error:  # signed here by another version
            raise refused from error
        if now >= policy.expires_at:
            raise refused
        return policy
