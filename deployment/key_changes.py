"""Keys that are withdrawn: revoked at once, or replaced by a new one with an overlap."""

from __future__ import annotations

import time
from pathlib import Path

from deployment.key_file import KeyRecord, change_keys, new_key
from hhray.errors import ConfigError


def revoke_key(path: Path, key_id: str) -> KeyRecord:
    """Withdraw a key; servers refuse it from their next request on.

    Raises:
        ConfigError: there is no such key, or the file cannot be written.
    """
    now, changed = round(time.time(), 3), []

    def revoke(records: list[KeyRecord]) -> list[KeyRecord]:
        old = _of(records, key_id, path)
        changed.append(old if old.revoked_at else old.model_copy(update={"revoked_at": now}))
        return [changed[0] if record is old else record for record in records]

    change_keys(path, revoke)
    return changed[0]


def rotate_key(path: Path, secret: bytes, key_id: str, overlap_seconds: float) -> tuple[str, KeyRecord]:
    """A new key with the tenant, scopes and life span of an active one, which goes on to work for `overlap_seconds`.

    The new key and the old one's record, with its expiry.

    Raises:
        ConfigError: there is no such key, it is not active, or the file cannot be written.
    """
    now, told = round(time.time(), 3), []

    def rotate(records: list[KeyRecord]) -> list[KeyRecord]:
        old = _of(records, key_id, path)
        if (state := old.state(now)) != "active":
            raise ConfigError(f"the key {key_id} is {state}; rotate an active one, or make a new key")
        span = old.expires_at - old.made_at if old.expires_at else 0.0
        key, new = new_key(records, secret, old.tenant, old.admin, old.scopes, now + span if span else 0.0)
        last = round(now + overlap_seconds, 3)
        ending = old.model_copy(update={"expires_at": min(last, old.expires_at or last)})
        told.append((key, ending))
        return [*(ending if record is old else record for record in records), new]

    change_keys(path, rotate)
    return told[0]


def _of(records: list[KeyRecord], key_id: str, path: Path) -> KeyRecord:
    found = next((record for record in records if record.id == key_id), None)
    if found is None:
        raise ConfigError(f"{path} has no key {key_id!r}; 'hhray keys list' shows the ids")
    return found
