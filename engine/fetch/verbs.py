"""The verb fetch-weights."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hhray.console import result_console, table
from hhray.errors import ConfigError
from hhray.settings import load_settings
from hhray.verb import Verb

if TYPE_CHECKING:
    from engine.fetch.catalogue import Part
    from engine.fetch.hubs import RemoteFile

Listing = list[tuple["Part", list["RemoteFile"]]]
FIRST_PAUSE_SECONDS = 1.0


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="hub", required=True, choices=("huggingface", "modelscope"), help="the hub")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="each part becomes a folder in it")
    parser.add_argument("--parts", default="", metavar="A,B", help="parts to fetch (default: all but base)")
    parser.add_argument(
        "--accept-licence", action="append", default=[], metavar="NAME", help="licence of a gated part; repeatable"
    )
    parser.add_argument("--hub-url", default="", help="another address of the hub, such as a mirror")
    parser.add_argument("--list", action="store_true", help="show parts, licences and sizes, fetch nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run(args: argparse.Namespace) -> int:
    from engine.byte_progress import byte_progress
    from engine.fetch.catalogue import DEFAULT_PARTS, choose_parts, require_licences
    from engine.fetch.download import download
    from engine.fetch.hubs import Hub, list_files, open_hub

    parts = choose_parts(args.parts.split(",") if args.parts else DEFAULT_PARTS)
    tokens, hub = load_settings().hub, Hub(args.hub)
    token = tokens.huggingface_token if hub is Hub.HUGGINGFACE else tokens.modelscope_token
    with open_hub(hub, args.hub_url, token.get_secret_value()) as http:
        listing = [(part, list_files(http, hub, part)) for part in parts]
        if not args.json:
            _show(listing)
        if not args.list:
            require_licences(parts, args.accept_licence)
            total = sum(file.size for _, files in listing for file in files)
            _require_room(args.to, listing)
            with byte_progress(f"weights from {hub}", total) as advance:
                for part, files in listing:
                    for file in files:
                        download(http, file, args.to / part.name, advance, FIRST_PAUSE_SECONDS)
    if args.json:
        print(json.dumps({"to": str(args.to), "fetched": not args.list, "parts": _facts(listing)}))
    elif not args.list:
        result_console().print(f"fetched to {args.to}; every file has the hub's checksum", markup=False)
    return 0


def _facts(listing: Listing) -> list[dict[str, object]]:
    return [
        {
            "part": part.name,
            "repository": part.repository,
            "licence": part.licence,
            "gated": part.gated,
            "files": len(files),
            "bytes": sum(file.size for file in files),
        }
        for part, files in listing
    ]


def _show(listing: Listing) -> None:
    rows = [
        (part.name, part.repository, part.licence, "yes" if part.gated else "", str(len(files)),
         f"{sum(file.size for file in files) / 1e9:.3f}")
        for part, files in listing
    ]  # fmt: skip
    result_console().print(table(("part", "repository", "licence", "gated", "files", "GB"), rows))


def _require_room(target: Path, listing: Listing) -> None:
    """Raises ConfigError when the disk cannot hold what is still to come."""
    target.mkdir(parents=True, exist_ok=True)
    missing = 0
    for part, files in listing:
        for file in files:
            path = target / part.name / file.path
            kept = [place.stat().st_size for place in (path, path.with_name(path.name + ".part")) if place.is_file()]
            missing += max(0, file.size - max(kept, default=0))
    free = shutil.disk_usage(target).free
    if missing > free:
        raise ConfigError(f"{missing / 1e9:.1f} GB are still to come, {target} has room for {free / 1e9:.1f} GB only")


VERBS: tuple[Verb, ...] = (
    Verb("fetch-weights", "download weights from a hub, with licences, resume and checksums", _configure, _run),
)
