"""`python -m engine.bench`: how fast this machine runs the engine's stages, and what more devices would give.

Exit codes: 0, or 2 when an option is wrong or a rank failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from engine.bench.arguments import checked, command_line, parser
from engine.bench.dry import dry_facts
from engine.bench.measure import measure
from engine.bench.plots import scaling_plot, stages_plot
from engine.bench.report import head, measured_facts
from engine.bench.tables import print_dry, print_measured
from engine.bench.workload import workload
from engine.hardware import device_name
from hhray.console import result_console
from hhray.errors import ConfigError, HhrayError


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    try:
        if arguments.to:
            _make(arguments.to)  # before minutes of measuring
        facts = _facts(arguments, command_line(given, arguments.to, arguments.kernels))
    except HhrayError as error:
        sys.stderr.write(f"engine.bench: {error.message}\n")
        return 2
    if arguments.to:
        attention = "" if arguments.attention == "plain" else f"attention-{arguments.attention}"
        _keep(facts, arguments.to, (arguments.dtype, arguments.precision, attention))
    if arguments.json:
        print(json.dumps(facts))
    elif arguments.dry:
        print_dry(result_console(), facts)
    else:
        print_measured(result_console(), facts)
    return 0


def _facts(arguments: argparse.Namespace, command: str) -> dict[str, Any]:
    options = checked(arguments, torch.cuda.device_count())
    work = workload(options)
    facts = head(options, work, command)
    if arguments.dry:
        return {**facts, "dry": True, **dry_facts(options, work)}
    found = measure(options, work)
    name = device_name(torch.device(options.device))
    return {**facts, "dry": False, **measured_facts(options, work, found, name)}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--to {folder}: it is no folder and cannot be made one: {error}") from error


def _keep(facts: dict[str, Any], folder: Path, kinds: tuple[str, ...]) -> None:
    """NAME.json, and of a measured run NAME-stages.png and NAME-scaling.png; `kinds`: of its arithmetic, or empty."""
    clip = facts["clip"]
    batch = f"batch{facts['batch']}" if facts["batch"] > 1 else ""
    kind = "dry" if facts["dry"] else f"{facts['ranks']}x{facts['device']}"
    name = "-".join(filter(None, (facts["preset"], clip["size"], f"{clip['duration']}s", *kinds, batch, kind)))
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if not facts["dry"]:
        stages_plot(facts, folder / f"{name}-stages.png")
        scaling_plot(facts, folder / f"{name}-scaling.png")


if __name__ == "__main__":
    sys.exit(main())
