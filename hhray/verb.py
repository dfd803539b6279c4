"""A verb of the `hhray` command: what a package registers in the entry-point group `hhray.verbs`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """One sub-command.

    `configure` adds the verb's options to its parser; `run` does the work and returns the exit code. A run that fails
    raises an HhrayError, which the command line turns into one line on stderr (hhray.cli). Modules that define verbs
    must import quickly: heavy libraries belong inside `run`.
    """

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
