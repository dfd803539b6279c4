"""Contact sheets: a row a clip, with its prompt, eight of its frames and its sound below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine.embedded.scoring.clip_file import Watched, watch
from engine.embedded.scoring.hearing import clicks
from engine.embedded.scoring.lettering import lettered
from hhray.console import printable
from hhray.geometry import FRAMES_PER_SECOND

NUM_FRAMES = 8
FRAME_WIDTH, GAP, MARGIN = 160, 4, 8
TEXT_SIZE, TEXT_HEIGHT, STRIP_HEIGHT = 14, 20, 26
PAPER, INK, WAVE, CLICK = (255, 255, 255), (20, 20, 20), (110, 130, 160), (210, 40, 40)
WIDTH = NUM_FRAMES * FRAME_WIDTH + (NUM_FRAMES - 1) * GAP


@dataclass(frozen=True, slots=True)
class Row:
    """A clip and its prompt; `meant` says it in plain English, for where the prompt's letters cannot be drawn; `kind`
    is written before it."""

    prompt: str
    path: Path
    meant: str = ""
    kind: str = ""


def contact_sheet(rows: Sequence[Row], path: Path) -> None:
    """Write the PNG.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("a contact sheet needs one clip or more, got none")
    drawn = [_row(row) for row in rows]
    height = sum(one.height for one in drawn) + MARGIN * (len(drawn) + 1)
    sheet = Image.new("RGB", (WIDTH + 2 * MARGIN, height), PAPER)
    top = MARGIN
    for one in drawn:
        sheet.paste(one, (MARGIN, top))
        top += one.height + MARGIN
    sheet.save(path, format="PNG", optimize=True)


def _row(row: Row) -> Image.Image:
    clip = watch(row.path)
    count, height, width = clip.frames.shape[:3]
    frame_height = round(FRAME_WIDTH * height / width)
    image = Image.new("RGB", (WIDTH, TEXT_HEIGHT + frame_height + GAP + STRIP_HEIGHT), PAPER)
    text, font = lettered(printable(row.prompt), row.meant, TEXT_SIZE)
    ImageDraw.Draw(image).text((0, 0), f"{row.kind}   {text}".strip(), fill=INK, font=font)
    for place, frame in enumerate(np.linspace(0, count - 1, NUM_FRAMES).round().astype(int)):
        small = Image.fromarray(clip.frames[frame]).resize((FRAME_WIDTH, frame_height), Image.Resampling.LANCZOS)
        image.paste(small, (place * (FRAME_WIDTH + GAP), TEXT_HEIGHT))
    image.paste(Image.fromarray(strip(clip, WIDTH)), (0, TEXT_HEIGHT + frame_height + GAP))
    return image


def strip(clip: Watched, width: int) -> NDArray[np.uint8]:
    """How loud the sound is over the clip's length, clicks in red: uint8 [26, width, 3]."""
    picture = np.full((STRIP_HEIGHT, width, 3), PAPER, np.uint8)
    levels = [np.abs(part).max(initial=0.0) for part in np.array_split(clip.sound, width, axis=1)]
    halves = np.sqrt(np.clip(levels, 0, 1)) * (STRIP_HEIGHT / 2 - 1)  # the root shows quiet sounds too
    away = np.abs(np.arange(STRIP_HEIGHT)[:, None] + 0.5 - STRIP_HEIGHT / 2)
    picture[away <= np.maximum(halves, 0.5)] = WAVE
    seconds = len(clip.frames) / FRAMES_PER_SECOND
    for moment in clicks(clip.sound):
        place = min(width - 1, round(float(moment) / seconds * width))
        picture[:, max(0, place - 1) : place + 1] = CLICK
    return picture
