"""`python -m engine.embedded.training.video_codec --to FOLDER`: train the small video codec on the made world.

Writes `video.safetensors`, the file a checkpoint holds, `video-state.safetensors`, from which a run that was stopped
goes on, and `video-sheet.png`, true frames beside what the codec makes of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file

from engine.embedded.codecs.video import WEIGHTS, Networks, SpriteVideoCodec
from engine.embedded.training.course import Course, restore_courses, save_courses
from engine.embedded.training.video_cuts import looking_loss
from engine.embedded.training.video_lessons import drawing_loss, reading_loss
from engine.embedded.training.video_sheet import save_sheet
from hhray.errors import ConfigError

STATE, SHEET = "video-state.safetensors", "video-sheet.png"
MINUTES = 40.0
SHARES = (0.15, 0.65, 0.2)  # of the time, for the drawer, the reader, and the closer look
DRAWER_RATE, READER_RATE, LOOKER_RATE = 3e-3, 1e-3, 2e-3
SAVE_SECONDS = 180.0
SMOOTH = 0.98


def courses_of(networks: Networks, seed: int) -> list[Course]:
    """One for each network; each draws its own data."""
    return [
        Course("drawer", networks.drawer, partial(drawing_loss, networks.drawer), DRAWER_RATE, 3 * seed),
        Course("reader", networks.reader, partial(reading_loss, networks.reader), READER_RATE, 3 * seed + 1),
        Course("looker", networks.looker, partial(looking_loss, networks.looker), LOOKER_RATE, 3 * seed + 2),
    ]


def export(networks: Networks, folder: Path, seed: int) -> None:
    """Write the weights, those that read as float16, and the sheet drawn with them."""
    tensors = {
        name: (value if name.startswith("drawer.") else value.half()).contiguous()
        for name, value in networks.state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS)
    save_sheet(SpriteVideoCodec.load(folder), folder / SHEET, seed)


def train(folder: Path, minutes: float, seed: int, progress: Progress) -> None:
    """Train until `minutes` are used up, all runs in the folder counted together.

    Raises:
        ConfigError: the folder's state cannot be taken up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    networks = Networks()
    courses = courses_of(networks, seed)
    if (folder / STATE).exists():
        restore_courses(courses, folder / STATE)

    def save() -> None:
        save_courses(courses, folder / STATE)
        export(networks, folder, seed)

    for course, share in zip(courses, SHARES, strict=True):
        _follow(course, 60 * minutes * share, progress, save)


def _follow(course: Course, seconds: float, progress: Progress, save: Callable[[], None]) -> None:
    """Train one network for its time."""
    task = progress.add_task(course.name, total=seconds, loss="")
    mean, saved = 0.0, course.seconds
    while course.seconds < seconds:
        began = time.monotonic()
        loss = course.step(course.seconds / seconds)
        course.seconds += time.monotonic() - began
        mean = SMOOTH * mean + (1 - SMOOTH) * loss if mean else loss
        progress.update(task, completed=course.seconds, loss=f"step {course.steps}, loss {mean:.4f}")
        if course.seconds - saved >= SAVE_SECONDS or course.seconds >= seconds:
            save()
            saved = course.seconds
            progress.console.print(f"{course.name}: step {course.steps}, loss {mean:.4f}", highlight=False)


def main(argv: list[str] | None = None) -> int:
    """Train, and say what went wrong if it did."""
    parser = argparse.ArgumentParser(prog="python -m engine.embedded.training.video_codec", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where the weights are written")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of weights and data (%(default)s)")
    arguments = parser.parse_args(argv)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            train(arguments.to, arguments.minutes, arguments.seed, progress)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
