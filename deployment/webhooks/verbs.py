"""`hhray webhooks secret|list|redeliver`: works on the server's store and secret, as `hhray keys` does."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hhray.errors import NotFound
from hhray.settings import Settings, load_settings
from hhray.verb import Verb

if TYPE_CHECKING:
    from deployment.webhooks.records import Delivery, DeliveryAttempt

STATES = ("WAITING", "DELIVERED", "GIVEN_UP")


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    secret = actions.add_parser("secret", help="print the secrets that receivers of a tenant's webhooks check with")
    secret.add_argument("--tenant", required=True, help="whose secrets")
    secret.add_argument("--generation", type=int, help="this one only, listed in the settings or not")
    listed = actions.add_parser("list", help="what was sent, and what came back")
    listed.add_argument("--tenant", help="of this tenant only")
    listed.add_argument("--task", metavar="ID", help="of this task only, with every attempt")
    listed.add_argument("--state", choices=STATES, help="in this state only")
    listed.add_argument("--limit", type=int, default=50, help="so many, newest first (default 50)")
    again = actions.add_parser("redeliver", help="send again, now and as often as a new one")
    again.add_argument("ids", nargs="+", metavar="ID", help="ids of events, as `hhray webhooks list` shows them")
    for action in (secret, listed, again):
        action.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
        action.add_argument("--data-dir", help="home of tasks, clips and keys (default ~/.local/share/hhray)")
        action.add_argument("--json", action="store_true", help="print one JSON object")


def _run(args: argparse.Namespace) -> int:
    settings = load_settings(args.config, {"data_dir": args.data_dir} if args.data_dir else {})
    return {"secret": _secret, "list": _list, "redeliver": _redeliver}[args.action](args, settings)


def _secret(args: argparse.Namespace, settings: Settings) -> int:
    from deployment.keys import server_secret
    from deployment.webhooks.signature import webhook_secret
    from hhray.tenancy import tenant_settings

    listed = tenant_settings(settings.tenants, args.tenant).webhook_generations
    generations = listed if args.generation is None else (args.generation,)
    server = server_secret(settings)
    secrets = {str(number): webhook_secret(server, args.tenant, number) for number in generations}
    if args.json:
        print(json.dumps({"tenant": args.tenant, "secrets": secrets}))
    else:
        for number, secret in secrets.items():
            print(f"{secret}  (generation {number})")
    return 0


def _list(args: argparse.Namespace, settings: Settings) -> int:
    from deployment.store import open_store
    from deployment.webhooks.records import DeliveryFilter, DeliveryState

    state = DeliveryState(args.state) if args.state else None
    store = open_store(settings)
    try:
        found = store.webhooks(DeliveryFilter(args.tenant, args.task, state, max(1, args.limit)))
        logs = {one.delivery_id: store.webhook_attempts(one.delivery_id) for one in found} if args.task else {}
    finally:
        store.close()
    if args.json:
        told = [asdict(one) | {"log": [asdict(entry) for entry in logs.get(one.delivery_id, [])]} for one in found]
        print(json.dumps({"webhooks": told}))
    else:
        _show(found, logs)
    return 0


def _redeliver(args: argparse.Namespace, settings: Settings) -> int:
    """Raises NotFound at the end when one of them could not be sent again."""
    from deployment.store import open_store

    store = open_store(settings)
    try:
        done = {delivery_id: store.redeliver_webhook(delivery_id) for delivery_id in args.ids}
    finally:
        store.close()
    if args.json:
        print(json.dumps({"redelivered": [one for one, sent in done.items() if sent]}))
    missing = [one for one, sent in done.items() if not sent]
    if missing:
        raise NotFound(f"not sent again: {', '.join(missing)}; expected ids that `hhray webhooks list` shows")
    if not args.json:
        print(f"{len(done)} will be sent again now")
    return 0


def _show(found: list[Delivery], logs: dict[str, list[DeliveryAttempt]]) -> None:
    from hhray.console import result_console, table

    rows = [
        (one.delivery_id, one.tenant, one.state, str(one.attempts), str(one.last_status or "-"), one.url)
        for one in found
    ]
    console = result_console()
    console.print(table(("id", "tenant", "state", "attempts", "status", "receiver"), rows))
    for delivery_id, log in logs.items():
        entries = [
            (str(one.attempt), _time(one.at), f"{one.seconds:.2f}", str(one.status or "-"), one.detail) for one in log
        ]
        console.print(delivery_id, table(("attempt", "when (UTC)", "seconds", "status", "answer"), entries))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


VERB = Verb("webhooks", "secrets, log and redelivery of webhooks", _configure, _run)
