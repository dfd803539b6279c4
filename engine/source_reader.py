"""`python -m engine.source_reader ORDER`: the process that opens a client's media file (see engine.source_process).

ORDER is JSON: `task` and its arguments, and the limits this process puts on itself first. It prints one line of JSON:
the answer, or `reason` and `message` of what is wrong with the file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import av

from engine.media_kind import HEAD_BYTES, check_video_kind
from engine.mp4_boxes import VideoCaps, survey, write_patched
from engine.reader_answer import Order, carry_out
from engine.source_facts import facts
from engine.source_frames import write_frames
from engine.source_sound import write_sound, write_video_sound
from hhray.geometry import FRAMES_PER_SECOND, Size


def _probe(order: Order) -> Order:
    return facts(Path(order["path"]))


def _video(order: Order) -> Order:
    path, num_frames = Path(order["path"]), order["num_frames"]
    size = Size(order["width"], order["height"])
    began = write_frames(path, Path(order["frames"]), size, order["aspect"], num_frames)
    rate = write_video_sound(path, Path(order["sound"]), began, num_frames / FRAMES_PER_SECOND)
    return {"sound_rate": rate or 0}


def _sound(order: Order) -> Order:
    rate, channels, num_samples = write_sound(Path(order["path"]), Path(order["sound"]), order["max_seconds"])
    return {"sound_rate": rate, "channels": channels, "num_samples": num_samples}


def _clean(order: Order) -> Order:
    """Facts of the copy without metadata, which is what is kept."""
    path, caps = Path(order["path"]), VideoCaps(*order["caps"])
    with path.open("rb") as file, os.fdopen(order["output"], "wb") as copy:
        check_video_kind(file.read(HEAD_BYTES))
        write_patched(file, copy, survey(file, caps))
        return facts(Path(f"/proc/self/fd/{copy.fileno()}"), caps.frames)


TASKS: dict[str, Callable[[Order], Order]] = {"probe": _probe, "clean": _clean, "video": _video, "sound": _sound}


if __name__ == "__main__":
    print(json.dumps(carry_out(sys.argv[1], TASKS, (av.FFmpegError,))))
