"""Two pictures of a run: where a clip's time goes, and what more devices would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from hhray.console import printable

WIDTH, MARGIN, ROW_HEIGHT, BAR_HEIGHT, TEXT_SIZE = 900, 16, 34, 22, 14
LABEL_WIDTH, VALUE_WIDTH = 150, 110
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (150, 150, 150)
COLOURS = ((66, 103, 172), (221, 132, 82), (85, 168, 104), (196, 78, 82), (129, 114, 179))


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: `parts` in seconds, one after the other in the order of the legend; `said` stands behind them."""

    label: str
    parts: tuple[float, ...]
    said: str


def stages_plot(facts: dict[str, Any], path: Path) -> None:
    """A bar a stage, in seconds of one clip; writes the PNG."""
    rows = facts["stages"]
    bars = [Bar(row["stage"], (row["seconds_per_clip"],), f"{row['seconds_per_clip']:.3g} s") for row in rows]
    ranks = f" on {facts['ranks']} ranks" if facts["ranks"] > 1 else ""
    _draw(_title(facts, f"seconds of a clip by stage, measured{ranks}"), (), bars, path)


def scaling_plot(facts: dict[str, Any], path: Path) -> None:
    """A bar for each number of devices: compute, link and decode; writes the PNG."""
    kinds = ("compute", "link", "decode")
    bars = [
        Bar(
            f"{row['devices']} device{'s' if row['devices'] > 1 else ''}",
            tuple(row[f"{kind}_seconds"] for kind in kinds),
            f"{row['seconds_per_clip']:.3g} s, x {row['speedup']:.2f}",
        )
        for row in facts["projection"]["clips"]
    ]
    if facts["stages_on_one_rank"]:
        seconds = sum(row["seconds_per_clip"] for row in facts["stages"])
        bars.append(Bar(f"{facts['ranks']} ranks, measured", (seconds,), f"{seconds:.3g} s"))
    _draw(_title(facts, "seconds of a clip, projected from one device"), kinds, bars, path)


def _title(facts: dict[str, Any], what: str) -> str:
    clip = facts["clip"]
    made = f"{facts['preset']}, {clip['size']}, {clip['duration']} s, {facts['machine']['device']}"
    return printable(f"{what}: {made}")


def _draw(title: str, legend: Sequence[str], bars: Sequence[Bar], path: Path) -> None:
    """Rows of bars on one scale, from zero to the longest."""
    image = Image.new("RGB", (WIDTH, 2 * MARGIN + ROW_HEIGHT * (len(bars) + 1 + bool(legend))), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(TEXT_SIZE)
    draw.text((MARGIN, MARGIN), title, fill=INK, font=font)
    top = MARGIN + ROW_HEIGHT
    left, room = MARGIN + LABEL_WIDTH, WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH
    longest = max(sum(bar.parts) for bar in bars)
    for bar in bars:
        draw.text((MARGIN, top), bar.label, fill=INK, font=font)
        begin = 0.0
        for part, colour in zip(bar.parts, COLOURS, strict=False):
            first, last = (left + room * value / longest for value in (begin, begin + part))
            if last - first >= 1:
                draw.rectangle((first, top, last, top + BAR_HEIGHT), fill=colour)
            begin += part
        draw.text((left + room * begin / longest + 6, top), bar.said, fill=INK, font=font)
        top += ROW_HEIGHT
    draw.line((left, MARGIN + ROW_HEIGHT - 6, left, top - 6), fill=FAINT)
    for place, (name, colour) in enumerate(zip(legend, COLOURS, strict=False)):
        x = left + place * LABEL_WIDTH
        draw.rectangle((x, top, x + TEXT_SIZE, top + TEXT_SIZE), fill=colour)
        draw.text((x + TEXT_SIZE + 6, top), name, fill=INK, font=font)
    image.save(path, format="PNG", optimize=True)
