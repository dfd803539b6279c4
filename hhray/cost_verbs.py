"""The verb fit-costs: from measured rows to the settings of the cost model."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhray.console import printable, result_console, table
from hhray.cost_rows import DecodeRow, Row, StepRow, read_rows
from hhray.errors import ConfigError
from hhray.verb import Verb

if TYPE_CHECKING:
    from hhray.cost_fit import Fit

TOP_LEVEL = ("flops_per_second",)  # of the group `engine`; the others belong to `engine.costs`


def fit_facts(rows: Sequence[Row]) -> dict[str, Any]:
    """Plain values: constants, what was left out and why, every row's error, and the settings to write.

    Raises:
        ConfigError: no rows, or rows of several devices.
    """
    from hhray.cost_fit import fit_decode, fit_steps  # noqa: PLC0415 - numpy, which other verbs need not load

    devices = {row.device for row in rows}
    if len(devices) != 1:
        raise ConfigError(f"rows of {sorted(devices) or 'no device'}; give measured rows of one kind of device")
    kept, notes = _of_one_kind_of_rank(rows)
    steps = fit_steps([row for row in kept if isinstance(row, StepRow)])
    decode = fit_decode([row for row in kept if isinstance(row, DecodeRow)])
    constants = {**steps.constants, **decode.constants}
    costs = {name: value for name, value in constants.items() if name not in TOP_LEVEL}
    top = {name: constants[name] for name in TOP_LEVEL if name in constants}
    return {
        "device": devices.pop(),
        "rows": len(kept),
        "constants": constants,
        "left_out": {**steps.left_out, **decode.left_out},
        "residuals": [*_residuals(steps), *_residuals(decode)],
        "settings": {"engine": {**top, "costs": costs}},
        "notes": notes,
    }


def _of_one_kind_of_rank(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows of the number of threads that most have, and a note about the others."""
    threads = Counter(row.threads for row in rows).most_common(1)[0][0]
    others = sum(row.threads != threads for row in rows)
    note = f"left out: {others} row(s) of ranks that have other than {threads} thread(s)"
    return [row for row in rows if row.threads == threads], [note] if others else []


def _residuals(fit: Fit) -> list[dict[str, Any]]:
    return [
        {"row": one.label, "seconds": one.seconds, "predicted": one.predicted, "ratio": one.ratio}
        for one in fit.residuals
    ]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="JSON of python -m engine.bench, one object or one a line"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run(args: argparse.Namespace) -> int:
    facts = fit_facts(read_rows(args.files))
    if args.json:
        print(json.dumps(facts))
    else:
        _show(facts)
    return 0


def _show(facts: dict[str, Any]) -> None:
    console = result_console()
    rows = [
        (one["row"], f"{one['seconds']:.4g}", f"{one['predicted']:.4g}", f"{one['ratio']:.2f}")
        for one in facts["residuals"]
    ]
    console.print(table(("row", "measured s", "fitted s", "ratio"), rows))
    for name, value in facts["constants"].items():
        console.print(printable(f"{name}: {value:.4g}"), markup=False, highlight=False, soft_wrap=True)
    for line in (*(f"{name}: left out: {why}" for name, why in facts["left_out"].items()), *facts["notes"]):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    settings = f"settings, which YAML reads as they are: {json.dumps(facts['settings'])}"
    console.print(printable(settings), markup=False, highlight=False, soft_wrap=True)


VERBS: tuple[Verb, ...] = (Verb("fit-costs", "fit the cost model to measured rows", _configure, _run),)
