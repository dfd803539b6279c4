"""Who may call: API keys and the server's secret.

Without a key file the server is open, and `check_binding` keeps it on loopback.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from deployment.key_file import KeyRecord, create_key, key_hash, read_keys, write_private
from deployment.key_scopes import ALL_SCOPES, Scope
from hhray.errors import ConfigError, InvalidApiKey
from hhray.settings import Settings

__all__ = ["Caller", "KeyRing", "check_binding", "create_key", "server_secret"]

logger = logging.getLogger("ray.serve")

OPEN_TENANT = "local"
MIN_SECRET_CHARS = 16


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. `key_id` names the key without revealing it; empty in open mode.

    An `admin` is the server's administrator; the scope `admin` makes one of the own tenant.
    """

    tenant: str
    admin: bool
    key_id: str = ""
    scopes: frozenset[Scope] = frozenset(ALL_SCOPES)


_FileMark = tuple[int, int, int]
_KEY = re.compile(r"hh-([0-9a-f]{12})-[A-Za-z0-9_-]{43}")
NOBODY = KeyRecord(id="nobody", tenant="nobody", hash="0" * 64)  # what an unknown id is compared with


@dataclass(frozen=True, slots=True)
class _Records:
    """Keys as they are looked up: by the id they begin with, and those of the first format."""

    by_id: dict[str, KeyRecord]
    unprefixed: tuple[KeyRecord, ...]

    @classmethod
    def of(cls, records: list[KeyRecord]) -> _Records:
        by_id = {record.id: record for record in records if record.prefixed}
        return cls(by_id, tuple(record for record in records if not record.prefixed))


class KeyRing:
    """The keys of a file, read again whenever the file changes.

    A file that turns unreadable or vanishes while the server runs changes nothing: the last keys stay in force, because
    a slip in editing must neither lock everybody out nor open the server.

    Raises:
        ConfigError: the file is there but does not hold keys.
    """

    def __init__(self, path: Path, secret: bytes) -> None:
        self._path, self._secret = path, secret
        self._lock = threading.Lock()
        self._mark = _mark(path)
        self._records = None if self._mark is None else _Records.of(read_keys(path))

    def authenticate(self, authorization: str | None) -> Caller:
        """Who sent this Authorization header.

        Raises:
            InvalidApiKey: no key, or a wrong one.
        """
        records = self._current()
        if records is None:
            return Caller(OPEN_TENANT, admin=True)
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise InvalidApiKey("No API-key provided. Expected the header 'Authorization: Bearer <key>'.")
        record = self._find(records, key.strip())
        if record is None:
            raise InvalidApiKey("Invalid API-key provided. Expected a key made by 'hhray keys create' on this server.")
        if (state := record.state(time.time())) != "active":
            raise InvalidApiKey(f"Invalid API-key provided: the key {record.id} is {state}. Ask for a new one.")
        return Caller(record.tenant, record.admin, record.id, record.granted)

    def signature(self, purpose: str, text: str) -> str:
        """HMAC-SHA256 with the server's secret, in hexadecimal; signatures of one purpose are none of another."""
        message = f"{purpose}:{text}".encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

    def prompt_hash(self, prompt: str) -> str:
        """What the audit log keeps of a prompt: hexadecimal HMAC-SHA256, so that short ones cannot be guessed."""
        return hmac.new(self._secret, b"prompt:" + prompt.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _find(self, records: _Records, key: str) -> KeyRecord | None:
        """The record of a key. The same work for any text: one HMAC, one comparison with the record of its id or with
        one that nothing equals, and one with each key of the first format."""
        digest = key_hash(self._secret, key)
        form = _KEY.fullmatch(key)
        named = records.by_id.get(form[1] if form else "", NOBODY)
        matches = [one for one in (named, *records.unprefixed) if hmac.compare_digest(one.hash, digest)]
        return matches[0] if matches and matches[0] is not NOBODY else None

    def _current(self) -> _Records | None:
        mark = _mark(self._path)
        with self._lock:
            if mark is not None and mark != self._mark:
                try:
                    self._records = _Records.of(read_keys(self._path))
                except ConfigError as error:
                    logger.error("keys not read again, the last ones stay in force: %s", error)
                    self._records = self._records or _Records.of([])
                self._mark = mark
            return self._records


def server_secret(settings: Settings) -> bytes:
    """The server's secret: from settings, or of <data_dir>/secret, which is made at the first call.

    Raises:
        ConfigError: it is too short, or the file can be neither read nor made.
    """
    text = settings.keys.secret.get_secret_value()
    path = settings.home / "secret"
    if not text:
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_private(path, secrets.token_hex(32).encode("ascii"), replace=False)
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"cannot read or make the server's secret {path}: {error}") from error
    if len(text) < MIN_SECRET_CHARS:
        raise ConfigError(f"the server's secret is shorter than {MIN_SECRET_CHARS} characters; set a longer one")
    return text.encode("utf-8")


def check_binding(settings: Settings) -> None:
    """Refuse to serve a network without keys.

    Raises:
        ConfigError: the host is not loopback and there is no key file, or a key file was named that is not there.
    """
    path = settings.keys_file
    if path.exists():
        read_keys(path)
        return
    if settings.keys.file:
        raise ConfigError(f"the key file {path} is not there; make a key with 'hhray keys create'")
    if not is_loopback(settings.http.host):
        raise ConfigError(
            f"without API keys only loopback may be served, not {settings.http.host}; "
            f"make a key with 'hhray keys create', or use --host 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether a host, as an address or a name, is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _mark(path: Path) -> _FileMark | None:
    """Changes whenever the file is replaced or written; None while it is not there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
