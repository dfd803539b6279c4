"""The `hhray` command. Packages register their verbs in the entry-point group `hhray.verbs`; nothing imports upwards.

Exit codes: 0 done, 1 it failed, 2 the request or the settings are wrong, 130 interrupted, 141 nobody
reads the output.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.metadata import entry_points

import hhray
from hhray.errors import ConfigError, HhrayError, RequestError, RequestRefused
from hhray.verb import Verb

VERB_GROUP = "hhray.verbs"
INTERRUPTED = 130
BROKEN_PIPE = 141  # as a shell says of a program that the signal ended


def find_verbs() -> dict[str, Verb]:
    """All registered verbs by name, sorted.

    Raises:
        ConfigError: two packages register the same name.
    """
    verbs: dict[str, Verb] = {}
    for entry in entry_points(group=VERB_GROUP):
        for verb in entry.load():
            if verb.name in verbs:
                raise ConfigError(f"two packages bring a verb {verb.name!r}; uninstall one of them")
            verbs[verb.name] = verb
    return dict(sorted(verbs.items()))


def build_parser(verbs: dict[str, Verb]) -> argparse.ArgumentParser:
    """The command's parser; the chosen verb lands in `args.verb`."""
    parser = argparse.ArgumentParser(prog="hhray", description="Serve and use a HappyHorse-1.0 class video model.")
    parser.add_argument("--version", action="version", version=f"hhray {hhray.__version__}")
    choices = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb_name", required=True)
    for verb in verbs.values():
        sub = choices.add_parser(verb.name, help=verb.help, description=verb.help)
        verb.configure(sub)
        sub.set_defaults(verb=verb)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code. Errors of hhray become one line on stderr, with --json also the last line
    of stdout: {"error": {"code", "message"}}."""
    as_json = False
    try:
        args = build_parser(find_verbs()).parse_args(argv)
        as_json = getattr(args, "json", False)
        verb: Verb = args.verb
        code = verb.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read the output, as `head` does, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to write at exit
        return BROKEN_PIPE
    except HhrayError as error:
        return _report(error, as_json)
    except KeyboardInterrupt:
        return INTERRUPTED


def _report(error: HhrayError, as_json: bool) -> int:
    line = "".join(char if char.isprintable() else " " for char in error.message)
    sys.stderr.write(f"hhray: {line}\n")
    if as_json:
        sys.stdout.write(json.dumps({"error": {"code": error.code, "message": error.message}}) + "\n")
    return 2 if isinstance(error, (ConfigError, RequestError, RequestRefused)) else 1
