"""`python -m loadtests.simulator --scenario FILE`: compare policies on a virtual clock; print the table, draw it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from hhray.errors import HhrayError
from loadtests.simulator.compare import compare
from loadtests.simulator.plots import latency_plot
from loadtests.simulator.policies import ABLATIONS
from loadtests.simulator.scenario import SCENARIOS, Scenario
from loadtests.simulator.table import table


def main(argv: list[str] | None = None) -> int:
    """0 when all ran; 2 for a scenario that cannot be run."""
    args = _parse(argv)
    try:
        scenario = Scenario.load(args.scenario)
        if args.ablation:
            scenario = replace(scenario, policies=("scheduler", *ABLATIONS))
        rows = compare(scenario, args.jobs, lambda text: print(text, file=sys.stderr))
    except (HhrayError, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    print(json.dumps({"scenario": scenario.name, "rows": rows}) if args.json else table(rows))
    if args.to is not None:
        name = f"{scenario.name}_ablation" if args.ablation else scenario.name
        args.to.mkdir(parents=True, exist_ok=True)
        (args.to / f"{name}.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
        (args.to / f"{name}.md").write_text(table(rows) + "\n", encoding="utf-8")
        for load in scenario.loads:
            latency_plot(rows, load, args.to / f"{name}_{load:g}.png")
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.simulator", description=__doc__)
    parser.add_argument("--scenario", type=Path, default=SCENARIOS / "mix.yaml", help="a file of scenarios/")
    parser.add_argument("--ablation", action="store_true", help="the scheduler, and it with each rule off in turn")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write the JSON, the table and a plot a load there")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default 1)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
