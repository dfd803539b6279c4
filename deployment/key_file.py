"""The file of API keys: one JSON list, written whole, readable by its owner only.

A key is `hh-<id>-<secret>`: the id finds its record, the secret is 256 random bits. It is shown once, when it is made;
the file keeps its HMAC-SHA256 under the server's secret, so that neither the file alone nor a backup of it lets anybody
in. Keys of the first format, `hh-<secret>`, are not `prefixed`: they are compared with each such record.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from deployment.key_scopes import ALL_SCOPES, CLIENT_SCOPES, Scope
from hhray.errors import ConfigError


class KeyRecord(BaseModel):
    """One key as the file keeps it; `hash` is hexadecimal HMAC-SHA256.

    Times are seconds since the epoch; 0: never, or (made) not known. `admin` keys are the server's administrators: they
    have every scope, in every tenant. Without `scopes` a key has those of a client.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=64)
    tenant: str = Field(min_length=1, max_length=128)
    admin: bool = False
    hash: str = Field(pattern="^[0-9a-f]{64}$")
    prefixed: bool = False
    scopes: tuple[Scope, ...] = CLIENT_SCOPES
    made_at: float = 0.0
    expires_at: float = 0.0
    revoked_at: float = 0.0

    @property
    def granted(self) -> frozenset[Scope]:
        """What the key may do."""
        return frozenset(ALL_SCOPES if self.admin else self.scopes)

    def state(self, now: float) -> str:
        """active, expired or revoked."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and now >= self.expires_at else "active"


_RECORDS = TypeAdapter(list[KeyRecord])
Change = Callable[[list[KeyRecord]], list[KeyRecord]]


def create_key(
    path: Path,
    secret: bytes,
    tenant: str,
    admin: bool,
    scopes: Sequence[Scope] = CLIENT_SCOPES,
    expires_at: float = 0.0,
) -> str:
    """Add a key to the file (made, readable by its owner only, if need be) and return it: the only time it is seen.

    Raises:
        ConfigError: the file holds something else, cannot be written, or the tenant's name does not fit.
    """
    made: list[str] = []

    def add(records: list[KeyRecord]) -> list[KeyRecord]:
        key, record = new_key(records, secret, tenant, admin, scopes, expires_at)
        made.append(key)
        return [*records, record]

    change_keys(path, add)
    return made[0]


def new_key(
    records: Sequence[KeyRecord], secret: bytes, tenant: str, admin: bool, scopes: Sequence[Scope], expires_at: float
) -> tuple[str, KeyRecord]:
    """A key whose id none of these records has, and its record.

    Raises:
        ConfigError: the tenant's name does not fit.
    """
    taken = {record.id for record in records}
    key_id = next(name for name in iter(lambda: secrets.token_hex(6), "") if name not in taken)
    key = f"hh-{key_id}-{secrets.token_urlsafe(32)}"
    try:
        return key, KeyRecord(
            id=key_id,
            tenant=tenant,
            admin=admin,
            hash=key_hash(secret, key),
            prefixed=True,
            scopes=tuple(dict.fromkeys(scopes)),
            made_at=round(time.time(), 3),
            expires_at=round(expires_at, 3),
        )
    except ValidationError as error:
        raise ConfigError("expected a tenant's name of 1 to 128 characters") from error


def change_keys(path: Path, change: Change) -> None:
    """Write the file anew with what `change` makes of its records; of two commands at once none loses its change.

    Raises:
        ConfigError: the file holds something else or cannot be written; what `change` raises leaves it as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            records = change(read_keys(path) if path.exists() else [])
            write_private(path, _RECORDS.dump_json(records, indent=1) + b"\n", replace=True)
    except OSError as error:
        raise ConfigError(f"cannot write keys to {path}: {error.strerror}") from error


def key_hash(secret: bytes, key: str) -> str:
    """What the file keeps of a key: hexadecimal HMAC-SHA256."""
    return hmac.new(secret, b"api-key:" + key.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def read_keys(path: Path) -> list[KeyRecord]:
    """The keys of a file.

    Raises:
        ConfigError: it cannot be read or holds something else.
    """
    try:
        return _RECORDS.validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read keys from {path}: {error.strerror}") from error
    except ValidationError as error:
        # Not the error's own text: it would repeat what the file holds.
        places = "; ".join(".".join(map(str, item["loc"])) + " " + item["type"] for item in error.errors())
        raise ConfigError(f"{path}: expected a JSON list of keys as 'hhray keys create' writes it ({places})") from None


def write_private(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file that only its owner reads, whole or not at all; without `replace` an existing one stays."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            with contextlib.suppress(FileExistsError):  # another process was first: its file counts
                os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
