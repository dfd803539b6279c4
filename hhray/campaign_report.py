"""The report of a campaign: JSON for programs, Markdown for people, and a page that shows all clips. Pure functions."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from hhray.campaign import Variant
from hhray.campaign_state import DONE, FAILED, CampaignState

REPORT_JSON, REPORT_MARKDOWN, REPORT_PAGE = "report.json", "report.md", "report.html"


def campaign_facts(variants: Sequence[Variant], state: CampaignState) -> dict[str, Any]:
    """What became of each variant."""
    rows = []
    for variant in variants:
        progress = state.variants[variant.name]
        rows.append(
            {
                "name": variant.name,
                "status": progress.status,
                "seconds": progress.seconds,
                "file": progress.file,
                "error": progress.error,
                "task_id": progress.task_id,
                "model": variant.model,
                "prompt": variant.prompt,
                "chosen": variant.chosen,
            }
        )
    statuses = [row["status"] for row in rows]
    counts = {"total": len(rows), "done": statuses.count(DONE), "failed": statuses.count(FAILED)}
    return counts | {"variants": rows}


def markdown_report(facts: dict[str, Any]) -> str:
    """A table, the failed ones first."""
    lines = [
        f"# Campaign: {facts['done']} of {facts['total']} clips, {facts['failed']} failed",
        "",
        "| clip | status | seconds | chosen | error |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(facts["variants"], key=lambda row: row["status"] != FAILED):
        chosen = ", ".join(f"{name} {value}" for name, value in row["chosen"].items())
        clip = f"[{row['name']}]({row['file']})" if row["file"] else row["name"]
        cells = (
            clip,
            row["status"],
            f"{row['seconds']:.1f}" if row["seconds"] else "",
            _cell(chosen),
            _cell(row["error"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def contact_sheet(facts: dict[str, Any]) -> str:
    """A page with every clip that is there; it loads nothing but the files beside it."""
    figures = [
        f'<figure><video src="{html.escape(row["file"])}" controls muted loop preload="metadata"></video>'
        f"<figcaption>{html.escape(row['name'])}<br>{html.escape(row['prompt'])}</figcaption></figure>"
        for row in facts["variants"]
        if row["file"]
    ]
    style = (
        "body{font:14px sans-serif;display:flex;flex-wrap:wrap;gap:12px}figure{margin:0;width:320px}video{width:100%}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Campaign</title><style>{style}</style>'
        f"{''.join(figures)}</html>\n"
    )


def write_report(facts: dict[str, Any], state: CampaignState) -> None:
    """Write the three files beside the clips."""
    folder = state.path.parent
    (folder / REPORT_JSON).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (folder / REPORT_MARKDOWN).write_text(markdown_report(facts), encoding="utf-8", errors="replace")
    (folder / REPORT_PAGE).write_text(contact_sheet(facts), encoding="utf-8", errors="replace")


def _cell(text: str) -> str:
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain.replace("|", "\\|").replace("<", "&lt;")
