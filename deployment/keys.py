"""Who may call: API keys and the server's secret.

Without a key file the server is open, and `check_binding` keeps it on loopback.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from deployment.key_file import KeyRecord, create_key, key_hash, read_keys, write_private
from hhray.errors import ConfigError, InvalidApiKey
from hhray.settings import Settings

__all__ = ["Caller", "KeyRing", "check_binding", "create_key", "server_secret"]

logger = logging.getLogger("ray.serve")

OPEN_TENANT = "local"
MIN_SECRET_CHARS = 16


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. `key_id` names the key without revealing it; empty in open mode."""

    tenant: str
    admin: bool
    key_id: str = ""


_FileMark = tuple[int, int, int]


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
        self._records = None if self._mark is None else read_keys(path)

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
        digest = key_hash(self._secret, key.strip())
        # Every record is compared, in constant time each, so that time tells nothing about which ones exist.
        matches = [record for record in records if hmac.compare_digest(record.hash, digest)]
        if not matches:
            raise InvalidApiKey("Invalid API-key provided. Expected a key made by 'hhray keys create' on this server.")
        return Caller(matches[0].tenant, matches[0].admin, matches[0].id)

    def signature(self, purpose: str, text: str) -> str:
        """HMAC-SHA256 with the server's secret, in hexadecimal; signatures of one purpose are none of another."""
        message = f"{purpose}:{text}".encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

    def _current(self) -> list[KeyRecord] | None:
        mark = _mark(self._path)
        with self._lock:
            if mark is not None and mark != self._mark:
                try:
                    self._records = read_keys(self._path)
                except ConfigError as error:
                    logger.error("keys not read again, the last ones stay in force: %s", error)
                    self._records = self._records or []
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
