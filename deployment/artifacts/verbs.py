"""`hhray artifacts check`: does the store of files work, and does it remove what is left over."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hhray.settings import load_settings
from hhray.verb import Verb


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["check"], help="check: try the store of files out; exit status 1 if unfit")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument("--data-dir", help="home of tasks, clips and keys (default ~/.local/share/hhray)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run(args: argparse.Namespace) -> int:
    from deployment.artifacts.check import check_artifacts

    settings = load_settings(args.config, {"data_dir": args.data_dir} if args.data_dir else {})
    told = check_artifacts(settings, b"nothing is signed by a check")
    if args.json:
        print(json.dumps(told))
    else:
        print(told["store"])
        for one in told["findings"]:
            print(f"  {'ok ' if one['ok'] else 'BAD'}  {one['message']}")
        if "lifecycle" in told:
            print("lifecycle rule that fits (aws s3api put-bucket-lifecycle-configuration):")
            print(json.dumps(told["lifecycle"], indent=2))
    return 0 if told["fits"] else 1


ARTIFACTS = Verb("artifacts", "check the store of files", _configure, _run)
