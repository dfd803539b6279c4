"""The figures of a scenario as a table for people."""

from __future__ import annotations

from typing import Any

from hhray.geometry import Resolution

HEADER = (
    ("policy", "load", *(resolution.value for resolution in Resolution)),
    ("<= 1.5x", "<= 3x", "1080P <= 1.5x", "<= 3x", "extra GPU-s", "pauses", "Jain", "decisions/s", "slowest"),
)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; classes show p50/p95/p99 of latency / time alone on one idle rank."""
    header = [*HEADER[0], *HEADER[1]]
    lines = [header, ["---"] * len(header), *(_cells(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: dict[str, Any]) -> list[str]:
    large = row[Resolution.P1080.value]
    return [
        row["policy"],
        f"{row['load']:g}",
        *(_class(row[resolution.value]) for resolution in Resolution),
        _percent(row["all"]["within_1.5x"]),
        _percent(row["all"]["within_3.0x"]),
        _percent(large["within_1.5x"]),
        _percent(large["within_3.0x"]),
        _percent(row["extra_gpu_seconds"]),
        str(row["pauses"]),
        f"{row['fairness']:.3f}",
        f"{row['decisions_per_second']:,}",
        f"{row['slowest_decision_seconds'] * 1e3:.2f} ms",
    ]


def _class(figures: dict[str, float]) -> str:
    return "/".join(f"{figures[name]:.3g}" for name in ("p50", "p95", "p99"))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
