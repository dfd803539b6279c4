"""A picture of a scenario at one load: p50 to p95 of every class under every policy, on one logarithmic scale."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from hhray.geometry import Resolution

WIDTH, MARGIN, ROW, BAR, TEXT_SIZE = 900, 16, 20, 12, 13
LABEL_WIDTH, VALUE_WIDTH = 210, 100
PAPER, INK, FAINT, GOAL = (255, 255, 255), (20, 20, 20), (205, 205, 205), (196, 78, 82)
COLOURS = ((66, 103, 172), (221, 132, 82), (85, 168, 104), (129, 114, 179))
LEAST, MARKS = 0.2, (0.3, 1, 3, 10, 30, 100, 300)


def latency_plot(rows: list[dict[str, Any]], load: float, path: Path) -> None:
    """Write the PNG: a bar from p50 to p95 a class and policy; a red line at 1.5 times alone."""
    rows = [row for row in rows if row["load"] == load]
    bars = [(resolution.value, row) for resolution in Resolution for row in rows]
    height = 2 * MARGIN + ROW * (len(bars) + len(Resolution) + 3)
    image = Image.new("RGB", (WIDTH, height), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(TEXT_SIZE)
    title = f"latency / time alone, p50 to p95, at {load:g} of capacity (logarithmic; red: 1.5 times alone)"
    draw.text((MARGIN, MARGIN), title, fill=INK, font=font)
    most = max(row[name]["p95"] for name, row in bars)
    top, bottom = MARGIN + 2 * ROW, height - MARGIN - ROW
    for mark in (*(mark for mark in MARKS if mark <= most), 1.5):
        draw.line((_x(mark, most), top, _x(mark, most), bottom), fill=GOAL if mark == 1.5 else FAINT)
        if mark != 1.5:
            draw.text((_x(mark, most) - 6, bottom + 3), f"{mark:g}", fill=INK, font=font)
    for place, (name, row) in enumerate(bars):
        if place % len(rows) == 0:
            top += ROW // 2
        draw.text((MARGIN, top - 2), f"{name}  {row['policy']}", fill=INK, font=font)
        first, last = row[name]["p50"], row[name]["p95"]
        left, right = _x(first, most), max(_x(last, most), _x(first, most) + 2)
        draw.rectangle((left, top, right, top + BAR), fill=COLOURS[place % len(rows) % len(COLOURS)])
        draw.text((right + 6, top - 2), f"{first:.2g} - {last:.3g}", fill=INK, font=font)
        top += ROW
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def _x(value: float, most: float) -> float:
    """Pixels from the left of a multiple of the time alone."""
    room = WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH
    return MARGIN + LABEL_WIDTH + room * math.log(max(value, LEAST) / LEAST) / math.log(max(most, 2) / LEAST)
