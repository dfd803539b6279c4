"""A run as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from hhray.console import printable, table

STAGE_COLUMNS = (
    "stage",
    "size",
    "tokens",
    "s/step",
    "steps",
    "s/clip",
    "TFLOP/s",
    "of peak",
    "peak memory",
    "sent/step",
    "kernels",
)


def print_measured(console: Console, facts: dict[str, Any]) -> None:
    """All that was measured, and the projection with its assumptions."""
    _print_head(console, facts)
    peak = facts["gemm_peak"]
    shape = " x ".join(map(str, peak["shape"]))
    _say(console, f"GEMM peak: {_number(peak['tflops_per_second'])} TFLOP/s in {peak['dtype']} ({shape})")
    stages = facts["stages"]
    console.print(table(STAGE_COLUMNS, [_stage_cells(row) for row in stages]))
    if ratio := facts["ratio"]:
        by_stage = ", ".join(f"{name} {value:.2f}" for name, value in ratio["by_stage"].items())
        _say(console, f"times faster, {ratio['of']}: {by_stage}")
    if against := facts["against_plain"]:
        by_stage = ", ".join(f"{name} {value:.2f}" for name, value in against["by_stage"].items())
        missing = f"nothing was compiled: {against['problem']}"
        _say(console, f"times faster, {against['of']}: {by_stage}" if by_stage else missing)
        for stage, seconds in against["plain_profiled_seconds"].items():
            _say(console, f"a plain step of {stage}: {_shares(seconds)}")
    for row in stages:
        if seconds := row["profiled_seconds"]:
            _say(console, f"a step of {row['stage']}: {_shares(seconds)}")
    columns = ("devices", "s/clip", "compute", "link", "decode", "speedup")
    console.print(table(columns, [_projected_cells(row) for row in facts["projection"]["clips"]]))
    _say(console, "The projection (measured on one device) assumes:")
    for line in facts["projection"]["assumptions"]:
        _say(console, f"- {line}")
    _print_notes(console, facts)


def print_dry(console: Console, facts: dict[str, Any]) -> None:
    """What was counted, by number of devices."""
    _print_head(console, facts)
    for stage in facts["stages"]:
        counted = ", ".join(f"{kind} {_number(value / 1e12)}" for kind, value in stage["flops_per_step"].items())
        _say(console, f"{stage['stage']} at {stage['size']}: TFLOP of a step: {counted}")
        if rows := stage.get("by_devices"):
            columns = ("devices", "tokens", "TFLOP/step", "sent/step", "link s/step", "activations")
            console.print(table(columns, [_counted_cells(row) for row in rows]))
    _print_notes(console, facts)


def _print_head(console: Console, facts: dict[str, Any]) -> None:
    machine, clip = facts["machine"], facts["clip"]
    versions = f"torch {machine['torch']}, Python {machine['python']}"
    _say(console, f"{machine['device']}, {versions}; load {machine['load_average']}")
    kept = facts.get("arithmetic", facts["dtype"])
    weights = f"{facts['parameters']:,} parameters, {_bytes(facts['weight_bytes'])} in {kept}"
    tokens = f"{clip['duration']} s at {clip['size']}, {clip['text_tokens']} text tokens"
    _say(console, f"{facts['preset']}: {weights}; {tokens}; ranks: {facts['ranks']}")


def _print_notes(console: Console, facts: dict[str, Any]) -> None:
    for note in facts["notes"]:
        _say(console, f"note: {note}")


def _say(console: Console, text: str) -> None:
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _stage_cells(row: dict[str, Any]) -> list[str]:
    share = row["share_of_gemm_peak"]
    return [
        row["stage"],
        row["size"],
        str(row["tokens"] or ""),
        _number(row["seconds_per_step"]),
        str(row["steps_per_clip"]),
        _number(row["seconds_per_clip"]),
        _number(row["tflops_per_second"]),
        "" if share is None else f"{share:.0%}",
        _bytes(row["peak_memory_bytes"]),
        _bytes(row["bytes_exchanged_per_step"]),
        ", ".join(kernel.removeprefix("aten.") for kernel in row["kernels"]),
    ]


def _shares(seconds: dict[str, float]) -> str:
    whole = sum(seconds.values()) or 1.0
    return ", ".join(f"{kind} {value / whole:.0%}" for kind, value in seconds.items() if value)


def _projected_cells(row: dict[str, Any]) -> list[str]:
    seconds = [row[name] for name in ("seconds_per_clip", "compute_seconds", "link_seconds", "decode_seconds")]
    return [str(row["devices"]), *map(_number, seconds), f"{row['speedup']:.2f}"]


def _counted_cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row["devices"]),
        str(row["tokens"]),
        _number(row["flops_per_step"] / 1e12),
        _bytes(row["bytes_sent_per_step"]),
        _number(row["link_seconds_per_step"]),
        _bytes(row["activation_bytes"]),
    ]


def _number(value: float | None) -> str:
    """Three digits that count; nothing for what is not known."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _bytes(count: int) -> str:
    """In units of 10^3."""
    value, units = float(count), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 1000 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}"
