"""Signatures of webhooks (Standard Webhooks 1.0.0, symmetric) and the secrets they are made with. Pure functions.

A tenant's secrets are derived from the server's secret, so that there is nothing to store: one for each generation that
the setting `tenants.NAME.webhook_generations` lists. Two generations listed are two signatures on every webhook, which
is how a secret is changed without a gap: list the new one, give it to the receiver, then take the old one off the list.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


def webhook_secret(server_secret: bytes, tenant: str, generation: int) -> str:
    """A tenant's secret as receivers are given it: `whsec_` and the base64 of 32 bytes."""
    message = f"webhook:{generation}:{tenant}".encode("utf-8", "replace")
    return PREFIX + base64.b64encode(hmac.new(server_secret, message, hashlib.sha256).digest()).decode("ascii")


def signature_headers(event_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of a webhook: id, time of the attempt in seconds since the epoch, a signature for each secret.

    A signature is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")
