"""The verbs of this package: serve, demo, migrate, keys, usage, audit, forget. Ray is imported when
one runs."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from deployment.artifacts.verbs import ARTIFACTS
from deployment.key_verbs import KEYS
from deployment.record_verbs import RECORD_VERBS
from deployment.webhooks.verbs import VERB as WEBHOOKS
from hhray.settings import load_settings
from hhray.verb import Verb


def _configure_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument("--host", help="address to bind (default 127.0.0.1; any other needs API keys)")
    parser.add_argument("--port", type=int, help="TCP port (default 8000)")
    parser.add_argument("--data-dir", help="home of tasks, clips and keys (default ~/.local/share/hhray)")
    parser.add_argument("--json", action="store_true", help="print the ready line as one JSON object")


def _run_serve(args: argparse.Namespace) -> int:
    """Serve in the foreground until SIGTERM or SIGINT; a second signal stops at once."""
    from deployment.local_server import LocalServer

    http = {name: value for name in ("host", "port") if (value := getattr(args, name)) is not None}
    overrides: dict[str, Any] = {"http": http} | ({"data_dir": args.data_dir} if args.data_dir else {})
    settings = load_settings(args.config, overrides)
    stop = threading.Event()
    _interrupt_on_signals()
    with LocalServer(settings) as server:

        def on_signal(number: int, frame: FrameType | None) -> None:
            if stop.is_set():
                _raise_interrupt(number, frame)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        ready = {"url": server.url, "data_dir": str(settings.home), "model": settings.engine.model_name}
        print(json.dumps(ready) if args.json else f"hhray serves {ready['model']} at {server.url}", flush=True)
        stop.wait()
        print(f"stopping: running clips may finish within {settings.drain_seconds:.0f} s", file=sys.stderr, flush=True)
    return 0


def _interrupt_on_signals() -> None:
    """SIGTERM and SIGINT both raise KeyboardInterrupt, also where a shell started us with SIGINT ignored."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_interrupt)


def _raise_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _configure_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt", default="a red ball moving right", help="what to draw (default: %(default)s)")
    parser.add_argument("--image", type=Path, metavar="FILE", help="first frame: image to video")
    parser.add_argument("--resolution", default="720P", help="256P, 480P, 720P or 1080P (default 720P)")
    parser.add_argument("--ratio", default="16:9", help="width:height, one of the nine of the menu (default 16:9)")
    parser.add_argument("--duration", type=int, default=3, help="seconds, 3 to 15 (default 3)")
    parser.add_argument("--seed", type=int, default=42, help="same seed, same clip (default 42)")
    parser.add_argument("--ranks", type=int, default=2, help="ranks of the gang: 1, 2, 4 or 8 (default 2)")
    parser.add_argument("--out", type=Path, default=Path("clip.mp4"), help="where to put the clip (default clip.mp4)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on stdout")


def _run_demo(args: argparse.Namespace) -> int:
    from deployment.demo import run_demo

    _interrupt_on_signals()
    return run_demo(args)


def _configure_migrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument("--data-dir", help="home of tasks, clips and keys (default ~/.local/share/hhray)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run_migrate(args: argparse.Namespace) -> int:
    from deployment.store import migrate_store, store_name

    settings = load_settings(args.config, {"data_dir": args.data_dir} if args.data_dir else {})
    done = migrate_store(settings)
    told = {"store": store_name(settings), "before": done.before, "after": done.after}
    if args.json:
        print(json.dumps(told))
    elif done.before == done.after:
        print(f"{told['store']}: has schema version {done.after} already")
    else:
        print(f"{told['store']}: schema version {done.before or 'none'} -> {done.after}")
    return 0


VERBS: tuple[Verb, ...] = (
    Verb("serve", "run the server in the foreground", _configure_serve, _run_serve),
    Verb("demo", "one command from a prompt to a clip, on this machine", _configure_demo, _run_demo),
    KEYS,
    WEBHOOKS,
    Verb("migrate", "make the task store, or bring it to this version", _configure_migrate, _run_migrate),
    *RECORD_VERBS,
    ARTIFACTS,
)
