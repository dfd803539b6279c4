"""`python -m engine.parity DIR [--dtype float32|bfloat16]`: one line of JSON per case and output.

Exit codes: 0 all within tolerance, 1 a tolerance missed or a case that cannot be run, 2 no golden directory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from engine.parity.run import cases
from hhray.errors import HhrayError


def main(argv: list[str] | None = None) -> int:
    """Check a golden directory; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.parity", description="Compare with golden tensors.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="golden directory")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="arithmetic (float32)")
    arguments = parser.parse_args(argv)
    console, passed = Console(stderr=True), True
    try:
        found = cases(arguments.folder, getattr(torch, arguments.dtype))
    except HhrayError as error:
        sys.stderr.write(f"engine.parity: {error.message}\n")
        return 2
    for case in track(found, "comparing", console=console, disable=not console.is_terminal):
        for row in case.run():
            print(row.json(), flush=True)
            passed = passed and row.ok
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
