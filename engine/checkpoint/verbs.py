"""Verbs about checkpoints: inspect-checkpoint and quantize."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhray.console import result_console, table
from hhray.verb import Verb

if TYPE_CHECKING:
    from engine.checkpoint.quantise import QuantiseReport


def _configure_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="a release, or a folder of safetensors files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run_inspect(args: argparse.Namespace) -> int:
    from engine.checkpoint.inspect import inspect_checkpoint

    facts = inspect_checkpoint(args.directory)
    if args.json:
        print(json.dumps(facts))
    else:
        _show(facts)
    return 1 if facts["problems"] else 0


def _show(facts: dict[str, Any]) -> None:
    console = result_console()
    console.print(f"{facts['directory']}: layout {facts['layout']}", markup=False)
    rows = []
    for name, part in facts["parts"].items():
        dtypes = ", ".join(f"{dtype} {num_bytes / 1e9:.3f}" for dtype, num_bytes in part["dtypes"].items())
        able = " ".join(mode for mode, trained in part["capabilities"].items() if trained)
        counts = (str(part["files"]), f"{part['tensors']:,}", f"{part['parameters']:,}", f"{part['bytes'] / 1e9:.3f}")
        rows.append((name, part["preset"] or "none fits", *counts, dtypes, able))
    columns = ("part", "preset", "files", "tensors", "parameters", "GB", "GB by dtype", "trained for")
    console.print(table(columns, rows))
    console.print("components: " + ", ".join(f"{name} {state}" for name, state in facts["components"].items()))
    able = "a server can run from it" if facts["servable"] else f"a server cannot run from it: {facts['why_not']}"
    console.print(able, markup=False)
    for device in facts["memory"]:
        verdict = "fits" if device["fits"] else "does not fit"
        needed, free = device["needed_bytes"] / 1e9, device["free_bytes"] / 1e9
        console.print(f"{device['device']}: one transformer needs {needed:.2f} GB, {free:.2f} GB are free: {verdict}")
    for name, part in facts["parts"].items():
        for problem in part["problems"]:
            console.print(f"{name}: {problem}", markup=False)
        if part["problems"]:
            console.print(f"{name}: {part['nearest']}", markup=False)


def _configure_quantize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SRC", help="a release, or a folder of safetensors files")
    parser.add_argument("target", type=Path, metavar="DST", help="a directory that does not exist yet")
    parser.add_argument("--to", required=True, choices=("fp8", "int8"), help="fp8: e4m3; int8: weights only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run_quantize(args: argparse.Namespace) -> int:
    from engine.checkpoint.capabilities import FILE_NAME
    from engine.checkpoint.names import FOLDERS, TEXT_FILE, VIDEO_FILE, Layout, Part, find_release
    from engine.checkpoint.quantise import Format, quantise

    release, names = find_release(args.source), FOLDERS[Layout(args.to)]
    reports = []
    for part, folder in release.folders.items():
        target = args.target if release.layout is Layout.SINGLE else args.target / names[Part(part)]
        reports.append(quantise(folder, target, Format(args.to)))
    if release.layout is not Layout.SINGLE:
        for name in (FILE_NAME, TEXT_FILE, VIDEO_FILE):  # the small codecs, where the release has them
            if (args.source / name).is_file():
                shutil.copy(args.source / name, args.target / name)
    if args.json:
        facts = [
            {
                "folder": report.folder,
                "preset": report.preset,
                "bytes_before": report.bytes_before,
                "bytes_after": report.bytes_after,
                "mean_relative_error": report.mean_error,
                "errors": report.errors,
            }
            for report in reports
        ]
        print(json.dumps({"to": args.to, "parts": facts}))
        return 0
    _show_reports(reports)
    return 0


def _show_reports(reports: list[QuantiseReport]) -> None:
    columns = ("folder", "GB before", "GB after", "linears", "mean relative error", "largest", "of")
    rows = [
        (
            report.folder,
            f"{report.bytes_before / 1e9:.3f}",
            f"{report.bytes_after / 1e9:.3f}",
            str(len(report.errors)),
            f"{report.mean_error:.4f}",
            f"{report.errors[report.worst]:.4f}",
            report.worst,
        )
        for report in reports
    ]
    result_console().print(table(columns, rows))


VERBS: tuple[Verb, ...] = (
    Verb(
        "inspect-checkpoint",
        "show what a directory of weights holds and whether it fits this machine",
        _configure_inspect,
        _run_inspect,
    ),
    Verb("quantize", "write a checkpoint with 8-bit linears", _configure_quantize, _run_quantize),
)
