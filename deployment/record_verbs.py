"""The verbs usage, audit and forget: what is kept of tenants' work, and its removal. They read the store."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path

from deployment.key_verbs import span
from hhray.console import printable, result_console, table
from hhray.quotas import utc_day
from hhray.records import AuditRow, UsageRow, day_name, day_number
from hhray.settings import Settings, load_settings
from hhray.verb import Verb

_PAGE = 1000
_SHOWN = ("at", "what", "tenant", "key_id", "task_id", "model", "layout", "code")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument("--data-dir", help="home of tasks, clips and keys (default ~/.local/share/hhray)")


def _settings(args: argparse.Namespace) -> Settings:
    return load_settings(args.config, {"data_dir": args.data_dir} if args.data_dir else {})


def _day(text: str) -> int:
    try:
        return day_number(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a day as YYYY-MM-DD, got {text!r}") from None


def _configure_usage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", help="of one tenant only")
    parser.add_argument("--from", dest="first", type=_day, metavar="DAY", help="YYYY-MM-DD, UTC (default: 30 days ago)")
    parser.add_argument(
        "--to", dest="last", type=_day, metavar="DAY", help="YYYY-MM-DD, UTC, included (default: today)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print comma-separated values")
    form.add_argument("--json", action="store_true", help="print one JSON object")
    _add_options(parser)


def _run_usage(args: argparse.Namespace) -> int:
    from deployment.store import open_store  # noqa: PLC0415 - not at --help

    today = utc_day(time.time())
    first = today - 30 if args.first is None else args.first
    last = today if args.last is None else args.last
    with closing(open_store(_settings(args))) as store:
        rows = store.usage(args.tenant, first, last)
    names = [field.name for field in fields(UsageRow)]
    if args.json:
        print(json.dumps({"from": day_name(first), "to": day_name(last), "rows": [asdict(row) for row in rows]}))
    elif args.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([names, *(asdict(row).values() for row in rows)])
    else:
        result_console().print(table(names, [[str(cell) for cell in asdict(row).values()] for row in rows]))
    return 0


def _configure_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", help="of one tenant only")
    parser.add_argument("--since", type=_day, metavar="DAY", help="YYYY-MM-DD, UTC (default: the beginning)")
    parser.add_argument(
        "--drop-older-than", type=span, metavar="SPAN", help="remove older rows, e.g. 400d; nothing else"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object a row, each with the hash of itself and all before it, and their number at the end",
    )
    _add_options(parser)


def _run_audit(args: argparse.Namespace) -> int:
    from deployment.store import open_store  # noqa: PLC0415 - not at --help

    with closing(open_store(_settings(args))) as store:
        if args.drop_older_than is not None:
            dropped = store.drop_audit(args.drop_older_than)
            print(json.dumps({"dropped": dropped}) if args.json else f"{dropped} rows removed")
            return 0

        def rows() -> Iterator[AuditRow]:
            after = 0
            while page := store.audit(args.tenant, 86400.0 * (args.since or 0), after, _PAGE):
                yield from page
                after = page[-1].audit_id

        if args.json:
            _print_chained(rows())
        else:
            cells = [[_cell(row, name) for name in _SHOWN] for row in rows()]
            result_console().print(table(_SHOWN, cells))
    return 0


def _print_chained(rows: Iterator[AuditRow]) -> None:
    """An export that was cut or altered shows: each row's `chain` is the SHA-256 of the one before it and the row."""
    chain, count = "", 0
    for row in rows:
        count += 1
        chain = hashlib.sha256((chain + json.dumps(asdict(row))).encode()).hexdigest()
        print(json.dumps({**asdict(row), "chain": chain}))
    print(json.dumps({"rows": count, "chain": chain}))


def _cell(row: AuditRow, name: str) -> str:
    if name == "at":
        return datetime.fromtimestamp(row.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return str(getattr(row, name))


def _configure_forget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", required=True, help="whose tasks, prompts, media and clips are removed for good")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print one JSON object; implies --yes")
    _add_options(parser)


def _run_forget(args: argparse.Namespace) -> int:
    from rich.progress import Progress  # noqa: PLC0415 - not at --help

    from deployment.artifacts import open_artifacts  # noqa: PLC0415 - as above
    from deployment.forgetting import forget_tenant  # noqa: PLC0415 - as above
    from deployment.keys import server_secret  # noqa: PLC0415 - as above
    from deployment.store import open_store  # noqa: PLC0415 - as above

    settings, name = _settings(args), printable(args.tenant)
    if not (args.yes or args.json):
        print(f"All tasks, prompts, media and clips of {name} go for good; type the tenant's name to go on: ", end="")
        if input().strip() != args.tenant:
            print("nothing was removed")
            return 1
    artifacts = open_artifacts(settings, server_secret(settings))
    with closing(open_store(settings)) as store, Progress(disable=args.json or not sys.stderr.isatty()) as progress:
        bar = progress.add_task("removing", total=None)
        count, done = forget_tenant(
            store, artifacts, args.tenant, on_removed=lambda count: progress.update(bar, completed=count)
        )
    left = "" if done else "; some are left, call it again"
    told = {"tenant": args.tenant, "tasks_removed": count, "complete": done}
    print(json.dumps(told) if args.json else f"{count} tasks of {name} removed{left}")
    return 0 if done else 1


RECORD_VERBS = (
    Verb("usage", "what tenants used, by day, model, tier and mode", _configure_usage, _run_usage),
    Verb("audit", "who did what: export the audit log", _configure_audit, _run_audit),
    Verb("forget", "remove all tasks, prompts, media and clips of a tenant", _configure_forget, _run_forget),
)
