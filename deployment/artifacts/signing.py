"""Signed paths of this server: HMAC-SHA256 over key and expiry (RFC 2104), so that the URL itself is the permission."""

from __future__ import annotations

import hashlib
import hmac
import re


class PathSigner:
    """Signs and checks paths of one server secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def path(self, key: str, ttl_seconds: float, now: float) -> str:
        """Path and query under which a file can be downloaded until `now + ttl_seconds`, seconds since the epoch."""
        expires = str(max(0, int(now + ttl_seconds)))
        return f"/artifacts/{key}?Expires={expires}&Signature={self._signature(key, expires)}"

    def verify(self, key: str, expires: str, signature: str, now: float) -> bool:
        """Whether a download was signed here and has not run out."""
        if not re.fullmatch(r"[0-9]{1,12}", expires):
            return False
        right = hmac.compare_digest(self._signature(key, expires).encode(), signature.encode("utf-8", "replace"))
        return right and now < int(expires)

    def _signature(self, key: str, expires: str) -> str:
        message = f"artifact:{key}\n{expires}".encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
