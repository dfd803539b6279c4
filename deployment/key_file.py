"""The file of API keys: one JSON list, written whole, readable by its owner only.

A key is shown once, when it is made; the file keeps its HMAC-SHA256 under the server's secret, so that neither the file
alone nor a backup of it lets anybody in.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hhray.errors import ConfigError


class KeyRecord(BaseModel):
    """One key as the file keeps it; `hash` is hexadecimal HMAC-SHA256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=64)
    tenant: str = Field(min_length=1, max_length=128)
    admin: bool = False
    hash: str = Field(pattern="^[0-9a-f]{64}$")


_RECORDS = TypeAdapter(list[KeyRecord])


def create_key(path: Path, secret: bytes, tenant: str, admin: bool) -> str:
    """Add a key to the file (made, readable by its owner only, if need be) and return it: the only time it is seen.

    Raises:
        ConfigError: the file holds something else, cannot be written, or the tenant's name does not fit.
    """
    key = "hh-" + secrets.token_urlsafe(32)
    try:
        record = KeyRecord(id=uuid.uuid4().hex[:12], tenant=tenant, admin=admin, hash=key_hash(secret, key))
    except ValidationError as error:
        raise ConfigError("expected a tenant's name of 1 to 128 characters") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Two commands at once must not lose one of the keys.
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            records = read_keys(path) if path.exists() else []
            write_private(path, _RECORDS.dump_json([*records, record], indent=1) + b"\n", replace=True)
    except OSError as error:
        raise ConfigError(f"cannot write keys to {path}: {error.strerror}") from error
    return key


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
