"""`hhray demo`: start a server for one clip, be its client over HTTP, leave nothing behind but the clip."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.text import Text

from deployment.local_server import LocalServer, free_port
from hhray.client import Client
from hhray.client_view import TaskView
from hhray.console import ClipProgress, printable, result_console, stage_table
from hhray.errors import ConfigError
from hhray.geometry import PIXELS, Ratio, Resolution
from hhray.model_size import EMBEDDED
from hhray.request import Mode
from hhray.settings import Settings, load_settings

WAIT_SECONDS = 3600.0
# of the made world that the embedded model knows
MORE_PROMPTS = (
    "a blue square bouncing on a white background",
    "一个绿色的球向左移动",
    'a talking orange face saying "good morning"',
)


def run_demo(args: argparse.Namespace) -> int:
    """Prompt to clip; prints where it lies and where the seconds went. Returns the exit code."""
    _check(args)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hhray-demo-") as directory:
        settings = _settings(args, Path(directory))
        _say(f"starting {settings.engine.model_name} on {args.ranks} ranks ...")
        with LocalServer(settings) as server, Client(server.url) as client:
            ready = time.monotonic() - began
            view = _make_clip(client, args)
    result = {
        "clip": str(args.out.resolve()),
        "task_id": view.task_id,
        "seconds_per_clip": round(sum(view.stages.values()), 3),
        "stages": view.stages,
        "startup_seconds": round(ready, 3),
        "total_seconds": round(time.monotonic() - began, 3),
        "notice": view.notice,
    }
    _print_result(result, as_json=args.json)
    if settings.engine.model_name == EMBEDDED:
        _say("\n".join(["more that this model can draw:", *(f"  hhray demo --prompt '{one}'" for one in MORE_PROMPTS)]))
    return 0


def _make_clip(client: Client, args: argparse.Namespace) -> TaskView:
    mode = Mode.I2V if args.image else Mode.T2V
    # 480P is sold with 1.1 only
    version = "1.1" if args.resolution == Resolution.P480 else "1.0"
    task_id = client.submit(
        model=f"happyhorse-{version}-{mode.value}",
        prompt=args.prompt,
        image=args.image,
        resolution=args.resolution,
        ratio=args.ratio,
        duration=args.duration,
        seed=args.seed,
    )
    with ClipProgress() as progress:
        view = client.wait(
            task_id,
            on_change=progress.update,
            on_trouble=progress.trouble,
            timeout_seconds=WAIT_SECONDS,
            poll_seconds=0.25,
        )
    client.download(view, args.out)
    return view


def _settings(args: argparse.Namespace, home: Path) -> Settings:
    overrides: dict[str, Any] = {
        "data_dir": str(home),
        "http": {"host": "127.0.0.1", "port": free_port()},
        "engine": {"ranks": args.ranks},
        "router": {"heartbeat_seconds": 0.5},
        "drain_seconds": 0.0,
    }
    return load_settings(overrides=overrides)


def _check(args: argparse.Namespace) -> None:
    """Refuse before anything starts what would fail after a minute of waiting."""
    if args.resolution not in list(Resolution):
        raise ConfigError(f"--resolution {args.resolution}: expected one of {', '.join(Resolution)}")
    if args.ratio not in list(Ratio):
        raise ConfigError(f"--ratio {args.ratio}: expected one of {', '.join(PIXELS)}")
    if args.image and not args.image.is_file():
        raise ConfigError(f"--image {args.image}: no such file")
    if not args.out.resolve().parent.is_dir():
        raise ConfigError(f"--out {args.out}: its directory does not exist")


def _print_result(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result), flush=True)
        return
    console = result_console()
    console.print(stage_table(result["stages"]))
    console.print(Text(f"clip: {printable(result['clip'])}"), soft_wrap=True)
    if result["notice"]:
        console.print(Text(printable(result["notice"])), soft_wrap=True)
    seconds, start = result["total_seconds"], result["startup_seconds"]
    console.print(f"{seconds:.1f} s in all, {start:.1f} s of it to start the server")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
