"""The verb keys: make, list, revoke and rotate API keys. A key is printed once, when it is made."""

from __future__ import annotations

import argparse
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployment.key_changes import revoke_key, rotate_key
from deployment.key_file import KeyRecord, create_key, read_keys
from deployment.key_scopes import CLIENT_SCOPES, Scope
from deployment.keys import server_secret
from hhray.console import result_console, table
from hhray.errors import ConfigError
from hhray.settings import Settings, load_settings
from hhray.verb import Verb

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def span(text: str) -> float:
    """Seconds of a span such as 90s, 12h or 30d.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a span such as 90s, 15m, 12h or 30d, got {text!r}")
    return float(found[1]) * _UNITS[found[2]]


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    create = actions.add_parser("create", help="make a key, print it once, keep only its hash")
    create.add_argument("--tenant", required=True, help="whose tasks the key sees: 1-128 characters")
    create.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in Scope],
        help="repeatable: submit, read, admin (of its tenant); default: submit and read",
    )
    create.add_argument("--admin", action="store_true", help="a server administrator: every scope, in every tenant")
    create.add_argument(
        "--expires", type=span, metavar="SPAN", help="refuse it after so long, e.g. 90d (default: never)"
    )
    listed = actions.add_parser("list", help="show the keys there are, without the keys themselves")
    listed.add_argument("--tenant", help="of one tenant only")
    revoke = actions.add_parser("revoke", help="refuse a key from now on")
    rotate = actions.add_parser("rotate", help="make a key that takes another's place, and let both work for a while")
    rotate.add_argument("--overlap", type=span, default=86400.0, metavar="SPAN", help="both work so long (default 1d)")
    for one in (revoke, rotate):
        one.add_argument("id", help="the key's id, as 'hhray keys list' shows it: what stands after hh- in the key")
    for one in (create, listed, revoke, rotate):
        one.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
        one.add_argument("--data-dir", help="home of tasks, clips and keys (default ~/.local/share/hhray)")
        one.add_argument("--json", action="store_true", help="print one JSON object")


def _run(args: argparse.Namespace) -> int:
    settings = load_settings(args.config, {"data_dir": args.data_dir} if args.data_dir else {})
    return {"create": _create, "list": _list, "revoke": _revoke, "rotate": _rotate}[args.action](args, settings)


def _create(args: argparse.Namespace, settings: Settings) -> int:
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"cannot use the directory {settings.home}: {error}") from error
    scopes = tuple(map(Scope, args.scope)) if args.scope else CLIENT_SCOPES
    expires_at = time.time() + args.expires if args.expires else 0.0
    path = settings.keys_file
    key = create_key(path, server_secret(settings), args.tenant, args.admin, scopes, expires_at)
    told = {"key": key, "tenant": args.tenant, "admin": args.admin, "file": str(path)}
    _tell_new(args, key, told | {"scopes": [scope.value for scope in scopes], "expires_at": _time(expires_at)})
    return 0


def _tell_new(args: argparse.Namespace, key: str, told: dict[str, Any]) -> None:
    print(json.dumps(told) if args.json else f"{key}\nThis is shown once; {told['file']} holds only its hash.")


def _list(args: argparse.Namespace, settings: Settings) -> int:
    path, now = settings.keys_file, time.time()
    records = [one for one in (read_keys(path) if path.exists() else []) if args.tenant in (None, one.tenant)]
    shown = [_shown(record, now) for record in records]
    if args.json:
        print(json.dumps({"file": str(path), "keys": shown}))
        return 0
    columns = ("id", "tenant", "scopes", "state", "made", "expires", "revoked")
    rows = [[_cell(one[name]) for name in columns] for one in shown]
    result_console().print(table(columns, rows))
    return 0


def _revoke(args: argparse.Namespace, settings: Settings) -> int:
    record = revoke_key(settings.keys_file, args.id)
    shown = _shown(record, time.time())
    print(json.dumps(shown) if args.json else f"key {record.id} of {record.tenant} is revoked since {shown['revoked']}")
    return 0


def _rotate(args: argparse.Namespace, settings: Settings) -> int:
    path = settings.keys_file
    key, old = rotate_key(path, server_secret(settings), args.id, args.overlap)
    told = {"key": key, "tenant": old.tenant, "admin": old.admin, "file": str(path)}
    _tell_new(args, key, told | {"replaces": old.id, "works_until": _time(old.expires_at)})
    if not args.json:
        print(f"The key {old.id} works until {_time(old.expires_at)}.")
    return 0


def _shown(record: KeyRecord, now: float) -> dict[str, Any]:
    scopes = ["server-admin"] if record.admin else [scope.value for scope in record.scopes]
    return {
        "id": record.id,
        "tenant": record.tenant,
        "admin": record.admin,
        "scopes": scopes,
        "state": record.state(now),
        "made": _time(record.made_at),
        "expires": _time(record.expires_at),
        "revoked": _time(record.revoked_at),
    }


def _cell(value: str | list[str] | None) -> str:
    return ", ".join(value) if isinstance(value, list) else value or "-"


def _time(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None


KEYS = Verb("keys", "make, list, revoke and rotate API keys", _configure, _run)
