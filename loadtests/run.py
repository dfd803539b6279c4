"""`python -m loadtests.run --host URL`: the load test without a window, in a process of its own.

Locust replaces the standard library's blocking calls when it is imported, so it stays out of this process.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
START_AND_STOP_SECONDS = 120.0


def main(argv: list[str] | None = None) -> int:
    """0 when there was at least one clip and no error, 1 otherwise, 2 for a host that must not be loaded."""
    args = _parse(argv)
    if not (args.allow_remote or is_loopback(args.host)):
        sys.stderr.write(
            f"loadtests: {args.host} is not this machine; expected a loopback address such as http://127.0.0.1:8000, "
            "or --allow-remote if that server is yours to load\n"
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="hhray-loadtest-") as directory:
        summary_file = Path(directory) / "summary.json"
        run_locust(args, summary_file)
        if not summary_file.exists():
            sys.stderr.write("loadtests: locust ended without a summary; its own messages are above\n")
            return 1
        summary = json.loads(summary_file.read_text(encoding="utf-8"))
    if args.json:
        print(json.dumps(summary))
    return 0 if summary["num_clips"] and not summary["errors"] else 1


def is_loopback(url: str) -> bool:
    """Whether an http(s) URL names this machine, by address or as `localhost`."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run_locust(args: argparse.Namespace, summary_file: Path) -> None:
    """Run Locust in a child; its report goes to this process's stderr, so that stdout is the summary's alone."""
    command = [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
        *("--host", args.host, "--users", str(args.users), "--spawn-rate", str(args.users)),
        *("--run-time", f"{args.seconds}s", "--summary-json", str(summary_file)),
        *(("--resolution", args.resolution) if args.resolution else ()),
        *(("--duration", str(args.duration)) if args.duration else ()),
        *(("--api-key", args.api_key) if args.api_key else ()),
    ]
    output = sys.stderr if args.json else None
    subprocess.run(command, check=False, stdout=output, timeout=args.seconds + START_AND_STOP_SECONDS)  # noqa: S603 - no shell; the program is this Python


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.run", description="Load a server with small clips.")
    parser.add_argument("--host", required=True, metavar="URL", help="the server, e.g. http://127.0.0.1:8000")
    parser.add_argument("--seconds", type=int, default=30, help="length of the test (default 30)")
    parser.add_argument("--users", type=int, default=4, help="clips asked for at a time (default 4)")
    parser.add_argument("--resolution", help="all clips in this resolution instead of the mixture")
    parser.add_argument("--duration", type=int, help="all clips of this many seconds")
    parser.add_argument("--api-key", help="bearer key of the server")
    parser.add_argument("--allow-remote", action="store_true", help="load a server on another machine")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
