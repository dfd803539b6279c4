"""`hhray batch`: one script fanned out into many clips."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hhray.async_client import AsyncClient
from hhray.campaign import Variant, local_files, read_campaign
from hhray.campaign_report import REPORT_MARKDOWN, REPORT_PAGE, campaign_facts, write_report
from hhray.campaign_run import CampaignRun, missing_files, prepare
from hhray.campaign_state import DONE, FAILED, CampaignState, campaign_folder
from hhray.campaign_state import Progress as VariantProgress
from hhray.client_options import DEFAULT_WAIT_SECONDS, add_server_options
from hhray.client_view import TaskView
from hhray.console import printable, result_console, table
from hhray.errors import ConfigError
from hhray.settings import load_settings
from hhray.verb import Verb


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.jsonl", help="scripts, a JSON object a line")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="clips, state and report; resumable")
    parser.add_argument("--at-once", type=int, default=4, metavar="N", help="clips under way (default: %(default)s)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_WAIT_SECONDS,
        metavar="SECONDS",
        help="longest wait for one clip (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and make nothing")
    add_server_options(parser)


def _run(args: argparse.Namespace) -> int:
    if args.at_once < 1:
        raise ConfigError(f"--at-once: expected 1 or more, got {args.at_once}")
    text = _read(args.file)
    if args.dry_run:
        _show_plan(read_campaign(text, CampaignState.open(args.out).salt), args.json)
        return 0
    with campaign_folder(args.out):
        state = CampaignState.open(args.out)
        variants = read_campaign(text, state.salt)
        if absent := missing_files([file for variant in variants for file in local_files(variant)]):
            raise ConfigError(f"{absent[0]}: no such file, named by a script")
        dropped = prepare(state, variants)
        state.write()
        with CampaignProgress(variants, state) as view:
            asyncio.run(_make(args, variants, state, view))
        facts = campaign_facts(variants, state)
        write_report(facts, state)
    if args.json:
        print(json.dumps(facts))
    else:
        _show_result(facts, dropped, args.out)
    return 0 if facts["done"] == facts["total"] else 1


async def _make(
    args: argparse.Namespace, variants: Sequence[Variant], state: CampaignState, view: CampaignProgress
) -> None:
    settings = load_settings().client
    async with AsyncClient(args.url or settings.url, args.api_key or settings.api_key.get_secret_value()) as client:
        run = CampaignRun(client, state, at_once=args.at_once, timeout_seconds=args.timeout, on_change=view.update)
        await run.run(variants)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}; expected a UTF-8 file, a JSON object a line") from error


class CampaignProgress:
    """One bar on stderr for the whole campaign; without a terminal, a line for every clip that ends."""

    def __init__(self, variants: Sequence[Variant], state: CampaignState, console: Console | None = None) -> None:
        self._console, self._state = console or Console(stderr=True), state
        self._running: dict[str, float] = {}
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("clips", total=len(variants))

    def __enter__(self) -> CampaignProgress:
        self._bar.start()
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, name: str, progress: VariantProgress, view: TaskView | None) -> None:
        """A clip's step, or a view of its task."""
        if view is not None and not view.is_over:
            self._running[name] = view.progress
        if progress.status in (DONE, FAILED):
            self._running.pop(name, None)
            if view is None and not self._console.is_terminal:
                line = f"{name}: {progress.status} {progress.error or f'in {progress.seconds:.1f} s'}"
                self._console.print(printable(line), soft_wrap=True, markup=False, highlight=False)
        self._draw()

    def _draw(self) -> None:
        counts = Counter(progress.status for progress in self._state.variants.values())
        done = counts[DONE] + counts[FAILED] + sum(self._running.values())
        text = f"{counts[DONE]} done, {counts[FAILED]} failed, {len(self._running)} under way"
        self._bar.update(self._task, description=text, completed=done)


def _show_plan(variants: Sequence[Variant], as_json: bool) -> None:
    if as_json:
        rows = [{"name": one.name, "model": one.model, "prompt": one.prompt, **one.options} for one in variants]
        print(json.dumps({"total": len(variants), "variants": rows}))
        return
    cells = [
        (one.name, one.model, ", ".join(f"{k} {v}" for k, v in one.chosen.items()), one.prompt) for one in variants
    ]
    result_console().print(table(("clip", "model", "chosen", "prompt"), cells))
    print(f"{len(variants)} clips")


def _show_result(facts: dict[str, object], dropped: Sequence[str], folder: Path) -> None:
    report = printable(str(folder / REPORT_MARKDOWN))
    print(f"{facts['done']} of {facts['total']} clips, {facts['failed']} failed: {report}")
    print(printable(str((folder / REPORT_PAGE).resolve())))
    if dropped:
        print(f"{len(dropped)} clips of an earlier plan were left as they are, {printable(dropped[0])} for one")


VERBS = (Verb("batch", "fan scripts out into many clips", _configure, _run),)
